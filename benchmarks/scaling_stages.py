"""One stage of the work at one size, in the process that runs this file: what benchmarks/scaling.py
starts for every point.

    python benchmarks/scaling_stages.py '{"stage": "evaluation", "images": 10000, "classes": 200}'

Prints JSON. cpu_seconds: of the processor, for all or for one step, the least of some turns.
anonymous_mb: the most that the
process held for itself (RssAnon; pages of mapped files are the system's) above what it held when
the stage began, sampled in a
turn of its own before. resident_mb: the same of VmHWM, which counts mapped pages too. disk_mb: what
the stage leaves on disk. All
features are made up. Threads are as OMP_NUM_THREADS says; scaling.py says 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from made_up_runs import finished_run, streamed

DEFAULTS: dict[str, dict[str, int]] = {
    "extraction": {"images": 16, "regions": 49, "turns": 1},
    "DEDN step": {
        "images": 20_000,
        "classes": 200,
        "attributes": 100,
        "regions": 49,
        "channels": 256,
        "batch": 16,
        "turns": 3,
    },
    "ESZSL fit": {"images": 20_000, "classes": 200, "attributes": 100, "channels": 512, "turns": 3},
    "evaluation": {"images": 2000, "classes": 200, "turns": 2},
    "report": {"images": 1000, "classes": 50, "runs": 6, "turns": 1},
    "page": {"images": 1000, "classes": 50, "runs": 6, "turns": 1},
}
"""What each stage has where an axis does not say otherwise. turns: how often it is timed."""


@dataclass
class Work:
    """once: the stage's work, to be measured. per: how many steps it does. left: the folder of what
    it leaves on disk."""

    once: Callable[[], object]
    per: int = 1
    left: Path | None = None


class Memory:
    """Private memory of this process in MB, sampled while `watch` runs."""

    def __init__(self) -> None:
        self.peak, self._stop = 0.0, threading.Event()

    @staticmethod
    def now(key: str) -> float:
        line = next(
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith(key)
        )
        return int(line.split()[1]) * 1024 / 1e6

    def watch(self, work: Callable[[], object]) -> float:
        """The most RssAnon during the work, above what it was before."""
        before = self.peak = self.now("RssAnon")
        sampler = threading.Thread(target=self._sample)
        sampler.start()
        try:
            work()
        finally:
            self._stop.set()
            sampler.join()
        return self.peak - before

    def _sample(self) -> None:
        while not self._stop.wait(0.002):
            self.peak = max(self.peak, self.now("RssAnon"))


def extraction(size: dict[str, int], folder: Path) -> Work:
    """Images of 32 px a region through a small network with random weights into a feature store."""
    import os

    import torch

    from zslkit.config import FeatureConfig
    from zslkit.features.backbones import load_backbone
    from zslkit.features.extract import open_store
    from zslkit.readers.images import ArrayImages
    from zslkit.utils.progress import Silent

    side = 32 * round(size["regions"] ** 0.5)
    pixels = np.random.default_rng(0).integers(
        0, 256, (size["images"], side, side, 3), dtype=np.uint8
    )
    backbone = load_backbone(
        FeatureConfig(backbone="mobilenetv3_small_050", weights="random", size=side)
    )
    turn = iter(range(100))

    def once() -> None:
        os.environ["ZSLKIT_CACHE"] = str(folder / str(next(turn)))
        open_store(
            "made-up", ArrayImages(pixels), backbone, "float16", torch.device("cpu"), Silent()
        )

    once()  # kernels of the network are chosen at the first shape
    return Work(once, left=folder / "0")


@dataclass(frozen=True)
class MadeUp:
    """A source of inputs that are kept nowhere: a few arrays, given out by image index."""

    shape: tuple[int, ...]
    kept: list[Any] = field(default_factory=list)

    def batch(self, index: Any) -> Any:
        import torch

        if not self.kept:
            self.kept.append(
                torch.randn(64, *self.shape, generator=torch.Generator().manual_seed(0))
            )
        return self.kept[0][torch.from_numpy(np.asarray(index) % 64)]


def made_up_dataset(size: dict[str, int]) -> Any:
    from zslkit.dataset import Dataset, Split
    from zslkit.semantics import Semantics

    rng = np.random.default_rng(0)
    labels = np.arange(size["images"]) % size["classes"]
    seen = np.flatnonzero(labels >= size["classes"] // 5)
    return Dataset(
        name="made-up",
        classes=tuple(map(str, range(size["classes"]))),
        labels=labels,
        split=Split(np.sort(seen[1:]), seen[:1], np.flatnonzero(labels < size["classes"] // 5)),
        semantics=Semantics(
            rng.random((size["classes"], size["attributes"]), dtype=np.float32),
            tuple(f"a{i}" for i in range(size["attributes"])),
            word_vectors=rng.standard_normal((size["attributes"], 300), dtype=np.float32),
        ),
        features=np.zeros((size["images"], 1), dtype=np.float32),
    )


def dedn_step(size: dict[str, int], folder: Path) -> Work:
    """Some steps of the harness's loop, sampling of batches and optimiser included."""
    import torch

    from zslkit.training.fit import make_task
    from zslkit.training.inputs import Inputs
    from zslkit.training.loop import Loop
    from zslkit.training.view import View
    from zslkit.utils.progress import Silent
    from zslkit_dedn.model import DEDN, DEDNConfig

    side = round(size["regions"] ** 0.5)
    shape = (size["channels"], side, side)
    source, dataset, steps = MadeUp(shape), made_up_dataset(size), 3
    train = {
        "epochs": 1,
        "steps_per_epoch": steps,
        "batch_size": size["batch"],
        "sampling": "balanced",
        "lr": 1e-4,
    }
    config = DEDNConfig.model_validate({"clusters": "single", "train": train})
    torch.manual_seed(0)
    inputs = Inputs("map", shape, shape, None, source, "made up", "", "", "made up", None)
    model = DEDN(config, make_task(dataset, inputs, config))
    view = View(source, dataset)

    def once() -> None:
        Loop(
            seed=0, device=torch.device("cpu"), reporter=Silent(), log=lambda **values: None
        ).train(model, view)

    source.batch(np.arange(1))
    return Work(once, steps)


def eszsl_fit(size: dict[str, int], folder: Path) -> Work:
    """The whole closed form on pooled features."""
    import torch
    from zslkit_baselines.eszsl import ESZSL, ESZSLConfig

    from zslkit.training.fit import make_task
    from zslkit.training.inputs import Inputs
    from zslkit.training.loop import Loop
    from zslkit.training.view import View
    from zslkit.utils.progress import Silent

    shape = (size["channels"],)
    source, dataset, config = MadeUp(shape), made_up_dataset(size), ESZSLConfig()
    inputs = Inputs("pooled", shape, None, None, source, "made up", "", "", "made up", None)
    model = ESZSL(config, make_task(dataset, inputs, config))
    loop = Loop(seed=0, device=torch.device("cpu"), reporter=Silent(), log=lambda **values: None)
    source.batch(np.arange(1))
    return Work(lambda: model.fit(View(source, dataset), loop))


def evaluation(size: dict[str, int], folder: Path) -> Work:
    """Scores to disk as they come, then everything that is said of them: all metrics, the curve,
    and intervals."""
    from zslkit.evaluation.bootstrap import resample
    from zslkit.evaluation.catalog import METRICS, Subject
    from zslkit.evaluation.outcomes import outcomes
    from zslkit.evaluation.sets import checked_sets
    from zslkit.runs.scores import read_scores

    place = folder / "scores.npz"

    def once() -> None:
        streamed(size["images"], size["classes"]).keep(place)
        scores = read_scores(place)
        sets = checked_sets(*scores.sets())
        subject = Subject(sets, 0.5, 0.25, scores.classes)
        for metric in METRICS.values():
            if metric.name != "confusion":  # a table of classes times classes by its nature
                metric.compute(subject)
        resample(outcomes(sets, 0.5))

    return Work(once, left=folder)


def report(size: dict[str, int], folder: Path) -> Work:
    """Run folders listed, compared with intervals and tests of all pairs, and written in every form
    there is."""
    from zslkit.report import as_data, export, tables
    from zslkit.report.comparison import compare
    from zslkit.report.rows import key_of
    from zslkit.report.significance import with_significance
    from zslkit.runs.folders import find_runs

    for k in range(size["runs"]):
        finished_run(folder, k, size)
    # Every form of a report stands here by its name; the page of HTML is a stage of its own, since
    # it shows more than the table.
    forms: dict[str, Callable[[Any], object]] = {
        "markdown": tables.markdown,
        "json": as_data.as_json,
        "latex": export.latex,
        "csv": export.as_csv,
    }

    def once() -> None:
        runs = find_runs(folder)
        blocks = with_significance(
            compare(
                [r.record for r in runs], folders={key_of(r.record): str(r.folder) for r in runs}
            )
        )
        for form in forms.values():
            form(blocks)

    return Work(once, left=folder)


def html_page(size: dict[str, int], folder: Path) -> Work:
    """Run folders gathered and written as a page: the table, curves of every run, per-class charts
    and details, without pictures."""
    from zslkit.page.gather import gather
    from zslkit.page.write import write

    runs, target = folder / "runs", folder / "page"
    for k in range(size["runs"]):
        finished_run(runs, k, size)

    def once() -> None:
        write(gather([], runs), target)

    return Work(once, left=target)


STAGES: dict[str, Callable[[dict[str, int], Path], Work]] = {
    "extraction": extraction,
    "DEDN step": dedn_step,
    "ESZSL fit": eszsl_fit,
    "evaluation": evaluation,
    "report": report,
    "page": html_page,
}


def measured(stage: str, size: dict[str, int]) -> dict[str, float]:
    """What the stage took at this size."""
    full = DEFAULTS[stage] | size
    with tempfile.TemporaryDirectory() as home:
        work = STAGES[stage](full, Path(home))
        clear = Path("/proc/self/clear_refs")
        clear.write_text("5")  # resets the high-water mark
        before = Memory.now("VmRSS")
        anonymous = Memory().watch(work.once)
        resident = Memory.now("VmHWM") - before
        turns = []
        for _ in range(full["turns"]):
            began = time.process_time()
            work.once()
            turns.append(time.process_time() - began)
        disk = (
            0
            if work.left is None
            else sum(f.stat().st_size for f in work.left.rglob("*") if f.is_file())
        )
    return {
        "cpu_seconds": min(turns) / work.per,
        "anonymous_mb": anonymous,
        "resident_mb": resident,
        "disk_mb": disk / 1e6,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", help="the stage and its sizes, as JSON")
    asked = json.loads(parser.parse_args().stage)
    print(json.dumps(measured(asked.pop("stage"), asked)))
