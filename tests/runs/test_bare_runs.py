"""What is left of a run that fails: a state to go on from, or a log, or nothing at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zslkit.datasets.catalog import RegisteredDataset
from zslkit.errors import TrainingError, UserError
from zslkit.runs import api
from zslkit.runs.folders import LOG, half_written, load_run
from zslkit.runs.run_folder import CHECKPOINT
from zslkit.testing.tiny import tiny_dataset


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    data = replace(tiny_dataset(images=False), name="digits")
    monkeypatch.setattr(RegisteredDataset, "load", lambda named, root: data)


def fail(out: Path, monkeypatch: pytest.MonkeyPatch, leave: str = "") -> list[Path]:
    """The folders that are left of a run whose model cannot be made."""

    def refused(*arguments: Any, **more: Any) -> Any:
        (partial,) = out.glob("*/*/*.partial")
        if leave:
            (partial / leave).write_text("{}\n")
        raise TrainingError("it refuses")

    monkeypatch.setattr("zslkit.runs.execute.make_model", refused)
    overrides = {"protocol": {"tune": False, "calibration": "none"}}
    with pytest.raises(TrainingError, match="it refuses"):
        api.run("eszsl", "digits", overrides=overrides, out=out, device="cpu")
    return [path for path in out.glob("*/*/*") if path.is_dir()]


def test_a_model_that_refuses_at_once_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fail(tmp_path, monkeypatch) == []


@pytest.mark.parametrize(
    ("left", "words"), [(CHECKPOINT, "goes on from there"), (LOG, "nothing of it is kept")]
)
def test_a_state_and_a_log_are_kept_and_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str, words: str
) -> None:
    (partial,) = fail(tmp_path, monkeypatch, left)
    assert words in half_written(partial)
    with pytest.raises(UserError, match=words):
        load_run(partial)


def test_a_finished_run_that_is_made_again_in_vain_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"protocol": {"tune": False, "calibration": "none"}}
    made = api.run("eszsl", "digits", overrides=overrides, out=tmp_path, device="cpu").folder
    monkeypatch.setattr("zslkit.runs.execute.make_model", lambda *_: 1 / 0)
    with pytest.raises(Exception, match="division by zero"):
        api.run("eszsl", "digits", overrides=overrides, out=tmp_path, device="cpu", again=True)
    assert load_run(made).record.model.name == "eszsl"
    assert [path for path in tmp_path.glob("*/*/*") if path.is_dir()] == [made]
