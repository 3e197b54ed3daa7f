"""The generative baselines through the harness: presets, validation, and a run that goes on where
it was interrupted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zslkit.runs import api
from zslkit.training import selection
from zslkit.utils.progress import Phase, Silent

SMALL = {"features": {"backbone": "test_resnet", "weights": "random"}}
SHORT = ["epochs=2", "batch_size=256", "classifier.epochs=2", "classifier.batch_size=512"]
GAN = [*SHORT, "hidden=16", "made=5"]
WHOLE = [*GAN, "seen_classifier.epochs=2", "protocol.calibration=validation"]


pytestmark = pytest.mark.usefixtures("digits_cache")


def run(model: str, settings: list[str], out: Path, **more: Any) -> api.Result:
    return api.run(
        model, "digits", overrides=SMALL, settings=settings, out=out, device="cpu", **more
    )


class Interrupts(Silent):
    """Interrupts the phase of that name in its last step; keeps what is noted."""

    def __init__(self, name: str) -> None:
        self.name, self.notes = name, list[str]()

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Phase]:
        yield _Counted(total) if name == self.name and total else self

    def note(self, text: str) -> None:
        self.notes.append(text)


class _Counted:
    def __init__(self, left: int) -> None:
        self.left = left

    def advance(self, n: int = 1, **figures: float) -> None:
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_scores_of_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["zslkit.training.loop"], "CHECKPOINT_SHARE", float("inf"))
    whole = run("fclswgan", WHOLE, tmp_path / "whole")
    for phase in ("validation: gan", "train: gan", "train: classifier"):
        with pytest.raises(KeyboardInterrupt):
            run("fclswgan", WHOLE, tmp_path / "parts", reporter=Interrupts(phase))
    rest = Interrupts("")
    resumed = run("fclswgan", WHOLE, tmp_path / "parts", reporter=rest)
    assert rest.notes[-1] == "train: classifier: going on after epoch 1"
    kept = [np.load(result.folder / "scores.npz") for result in (whole, resumed)]
    assert all(np.array_equal(kept[0][key], kept[1][key]) for key in kept[0].files)
    assert resumed.metrics == whole.metrics and not list(resumed.folder.glob("*.pt"))


@pytest.mark.parametrize(
    ("model", "settings"), [("cadavae", SHORT), ("tfvaegan", GAN), ("cegzsl", GAN)]
)
def test_a_preset_runs_and_its_terms_are_in_the_log(
    tmp_path: Path, model: str, settings: list[str]
) -> None:
    result = run(model, [*settings, "protocol.calibration=none"], tmp_path)
    lines = [
        json.loads(line)
        for line in (result.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["stage"] for line in lines] == ["vae" if model == "cadavae" else "gan"] * 2 + [
        "classifier"
    ] * 2
    assert all(
        isinstance(line[key], float)
        for line in lines
        for key in line
        if key not in ("time", "phase", "stage", "epoch")
    )
    assert result.record.protocol.training == "class-inductive"


@pytest.mark.slow
def test_the_preset_of_digits_trains_long_enough(tmp_path: Path) -> None:
    # Ten epochs left the generator untrained: T1 1.8 on the fold, where ridge has 23.0.
    choices = dict.fromkeys(("config", "preset", "overrides")) | {"settings": []}
    job = api._job("fclswgan", "digits", 0, "data", "cpu", Silent(), choices)
    picked = selection.pick(job.context(tmp_path, lambda **line: None))
    assert picked.figures["T1"] > 10
