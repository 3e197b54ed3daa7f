"""With one class to hold out, gamma is not picked, and the run says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zslkit.cli.present import run_lines
from zslkit.dataset import Dataset, Split
from zslkit.datasets.catalog import RegisteredDataset
from zslkit.runs import api
from zslkit.semantics import Semantics
from zslkit.utils.progress import Silent


def solids(classes: int, unseen: int) -> Dataset:
    """Features that are the attributes of the class, without noise."""
    table = np.random.default_rng(0).random((classes, 6)).astype(np.float32)
    labels, index = np.repeat(np.arange(classes), 10), np.arange(10 * classes)
    seen, held_out = labels < classes - unseen, index % 5 == 0
    split = Split(index[seen & ~held_out], index[seen & held_out], index[~seen])
    names = tuple(f"solid {k}" for k in range(classes))
    return Dataset(
        "solids",
        names,
        labels,
        split,
        Semantics(table, names=tuple("abcdef")),
        features=table[labels],
    )


@pytest.mark.parametrize(("classes", "unseen", "calibration"), [
    (4, 1, "none"),  # a fold holds out one of three
    (9, 3, "validation"),  # two of six
])  # fmt: skip
def test_gamma_is_picked_where_two_classes_or_more_are_held_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: int,
    unseen: int,
    calibration: str,
) -> None:
    notes: list[str] = []

    class Listener(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    monkeypatch.setattr(RegisteredDataset, "load", lambda *_: solids(classes, unseen))
    made = api.run(
        "ridge",
        "digits",
        settings=["protocol.calibration=validation"],
        preset="default",
        out=tmp_path,
        reporter=Listener(),
    ).record
    assert made.protocol.calibration == calibration
    assert made.protocol.gamma == 0 or calibration == "validation"
    said = [note for note in notes if "too few to pick gamma on" in note]
    assert len(said) == (calibration == "none")


def test_the_advice_to_calibrate_is_not_given_where_it_was_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RegisteredDataset, "load", lambda *_: solids(4, 1))
    made = api.run("ridge", "digits", preset="default", out=tmp_path)
    lines = "\n".join(run_lines(made.record, made.folder, False, "zslkit run"))
    assert "H is not calibrated" not in lines and "not calibrated" in lines
