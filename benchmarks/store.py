"""Training on a feature store of a published dataset's full size: memory, time to the first step,
share of waiting.

    python benchmarks/store.py [--size cub|sun|awa2] [--steps N] [--precision float32|bfloat16]
    [--folder DIR] [--json]

The maps are made up, in bfloat16 (CUB: 11788 x 2048 x 14 x 14, 9.5 GB; SUN: 14340, 11.5 GB; AWA2:
37322 x 2048 x 7 x 7, 7.5 GB),
kept in --folder and used again.
Training runs in a process of its own, so that its clock starts with the command. Anonymous memory
is what the process itself
holds (RssAnon); pages of the mapped store belong to the system, which takes them back when it needs
them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STARTED = time.time()
SHAPES = {
    "cub": (11788, 312, 200, 50, 14),
    "sun": (14340, 102, 717, 72, 14),
    "awa2": (37322, 85, 50, 10, 7),
}
"""Images, attributes, classes, unseen classes, side of a map."""
CHANNELS = 2048


def make_store(folder: Path, images: int, side: int) -> None:
    """A store of `images` made-up maps, unless it is there already."""
    if (folder / "manifest.json").is_file():
        return
    from zslkit.features.store import SCHEMA

    folder.mkdir(parents=True, exist_ok=True)
    shape = (CHANNELS, side, side)
    need = images * int(np.prod(shape)) * 2
    if shutil.disk_usage(folder).free < need * 1.05:
        raise SystemExit(f"{folder} has no {need / 1e9:.1f} GB left; name another --folder")
    rng = np.random.default_rng(0)
    # The upper half of float32 is bfloat16; a block of maps is written over and over, shifted so
    # that no two images are equal.
    block = (
        np.maximum(rng.standard_normal((64, *shape), dtype=np.float32), 0).view(np.uint32) >> 16
    ).astype(np.int16)
    maps = np.lib.format.open_memmap(
        folder / "maps.npy", mode="w+", dtype=np.int16, shape=(images, *shape)
    )
    for i in range(0, images, len(block)):
        count = min(len(block), images - i)
        maps[i : i + count] = np.roll(block, i // len(block), axis=1)[:count]
    maps.flush()
    np.save(folder / "pooled.npy", np.zeros((images, CHANNELS), dtype=np.float32))
    manifest = {"schema": SCHEMA, "key": "made up", "shape": (images, *shape), "dtype": "bfloat16"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@dataclass(frozen=True)
class NoImages:
    """Stands for images that are never opened."""

    count: int

    def __len__(self) -> int:
        return self.count

    def open(self, index: int) -> Any:
        raise AssertionError("the store has all features")

    def key(self, index: int) -> str:
        return str(index)

    def digest(self) -> str:
        return "made up"


class AnonymousMemory:
    """The highest RssAnon of this process in MB, sampled while it lives."""

    def __init__(self) -> None:
        self.peak = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            self.peak = max(
                self.peak, int(next(x for x in lines if x.startswith("RssAnon")).split()[1]) / 1e3
            )
            time.sleep(0.02)


def train(size: str, folder: Path, steps: int, precision: str) -> dict[str, float]:
    """What the child does: open the store, train, and say what it took."""
    memory = AnonymousMemory()
    import torch

    from zslkit.dataset import Dataset, Split
    from zslkit.features.store import FeatureStore
    from zslkit.semantics import Semantics
    from zslkit.training.fit import make_task
    from zslkit.training.inputs import Inputs
    from zslkit.training.loop import Loop
    from zslkit.training.view import MapSource, View
    from zslkit.utils.progress import Silent
    from zslkit_dedn.model import DEDN, DEDNConfig

    images, attributes, classes, unseen, side = SHAPES[size]
    shape = (CHANNELS, side, side)
    opened = time.perf_counter()
    source = MapSource(FeatureStore(folder))
    opened = time.perf_counter() - opened
    rng = np.random.default_rng(0)
    labels = np.arange(images) % classes
    seen = np.flatnonzero(labels >= unseen)
    dataset = Dataset(
        name=size,
        classes=tuple(map(str, range(classes))),
        labels=labels,
        split=Split(
            np.sort(seen[len(seen) // 5 :]),
            np.sort(seen[: len(seen) // 5]),
            np.flatnonzero(labels < unseen),
        ),
        semantics=Semantics(
            rng.random((classes, attributes), dtype=np.float32),
            tuple(f"a{i}" for i in range(attributes)),
            word_vectors=rng.standard_normal((attributes, 300), dtype=np.float32),
        ),
        images=NoImages(images),
    )
    inputs = Inputs(
        "map", shape, shape, None, source, "made up", "", "", "made up", (32 * side, 32 * side)
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rank = 256 if size == "sun" else None
    settings = {
        "epochs": 1,
        "steps_per_epoch": 1,
        "batch_size": 50,
        "sampling": "balanced",
        "optimizer": "rmsprop",
        "lr": 1e-4,
    }
    config = DEDNConfig.model_validate(
        {"clusters": "paper", "rank": rank, "train": {**settings, "precision": precision}}
    )
    torch.manual_seed(0)
    model = DEDN(config, make_task(dataset, inputs, config)).to(device)

    def run(view: Any, count: int) -> float:
        model.config = config.model_copy(
            update={"train": config.train.model_copy(update={"steps_per_epoch": count})}
        )
        loop = Loop(seed=0, device=device, reporter=Silent(), log=_ignore)
        loop.train(model, view)
        return loop.seconds

    view = View(source, dataset)
    run(view, 1)
    first = time.time() - STARTED
    run(view, steps)  # once more over the same images, so that the page cache is warm for them
    real = run(view, steps)
    repeated = run(_Repeated(view), steps)
    return {
        "open_seconds": opened,
        "first_step_seconds": first,
        "step_seconds": real / steps,
        "images_per_second": 50 * steps / real,
        "waiting_share": max(0.0, 1 - repeated / real),
        "anonymous_mb": memory.peak,
        "store_gb": (folder / "maps.npy").stat().st_size / 1e9,
    }


def _ignore(**values: object) -> None:
    """A log that nobody reads."""


class _Repeated:
    """A view that gives one batch over and over, so that no step waits."""

    def __init__(self, view: Any) -> None:
        self.labels, self._view = view.labels, view
        self._kept: Any = None

    def __len__(self) -> int:
        return len(self._view)

    def batch(self, index: Any) -> Any:
        if self._kept is None:
            self._kept = self._view.batch(index)
        return self._kept

    everything: Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=list(SHAPES), action="append", help="default: cub")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "zslkit-made-up"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for size in given.size or ["cub"]:
        folder = given.folder / size
        if given.child:
            print(json.dumps(train(size, folder, given.steps, given.precision)))
            return
        make_store(folder, SHAPES[size][0], SHAPES[size][-1])
        command = [
            sys.executable,
            __file__,
            "--child",
            "--size",
            size,
            "--steps",
            str(given.steps),
            "--precision",
            given.precision,
        ]
        done = subprocess.run(
            [*command, "--folder", str(given.folder)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ,
        )
        found = results[size] = json.loads(done.stdout)
        if not given.json:
            print(
                f"{size}: {found['store_gb']:.1f} GB store opened in "
                f"{found['open_seconds'] * 1e3:.0f} ms, first step done after "
                f"{found['first_step_seconds']:.1f} s, then {found['step_seconds']:.2f} s a step "
                f"({found['images_per_second']:.0f} images/s), "
                f"{100 * found['waiting_share']:.0f} % of it waiting; {found['anonymous_mb']:.0f} "
                "MB anonymous memory"
            )
    if given.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
