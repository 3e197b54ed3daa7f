"""Other people's files: what may not be read is named as such, and what may only be read is
used."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from run_folders import make_run, random_scores
from unprivileged import apart, open_folder, told

from zslkit.features.weights import read_state
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.tags import change_tags
from zslkit.training import checkpoint, weights
from zslkit.utils.files import not_permitted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
MAY_NOT = "may not be read by this user; ask its owner"


@pytest.fixture
def out() -> Iterator[Path]:
    """Runs of three models, whose folders nobody else may write."""
    with open_folder() as folder:
        for model in ("alpha", "beta", "gamma"):
            make_run(folder / "runs", model, random_scores(1.0))
        yield folder / "runs"


def run_of(out: Path, model: str) -> Path:
    (found,) = (out / "birds" / model).glob("seed0-*")
    return found


def closed(path: Path) -> Path:
    path.chmod(0)
    return path


def test_finished_runs_that_may_only_be_read_are_shown(out: Path) -> None:
    change_tags(run_of(out, "alpha"), add="paper")
    code, shown, err = told("runs", "--runs", str(out), "--json")
    assert (code, err) == (0, "")
    assert [(r["model"], r["state"], r["tags"]) for r in json.loads(shown)["runs"]] == [
        ("alpha", "finished", ["paper"]),
        ("beta", "finished", []),
        ("gamma", "finished", []),
    ]
    code, shown, err = told("evaluate", str(run_of(out, "alpha")))
    assert (code, err) == (0, "") and shown
    code, _, err = told("runs", str(run_of(out, "alpha")), "--runs", str(out), "--tag", "mine")
    assert code == 1 and "tags.json cannot be written (Permission denied)" in err


@pytest.mark.parametrize("what", ["record", "run", "model", "dataset"])
def test_runs_and_report_name_what_they_may_not_read(out: Path, what: str) -> None:
    run = run_of(out, "beta")
    place = closed(
        {
            "record": run / "record.json",
            "run": run,
            "model": run.parent,
            "dataset": run.parent.parent,
        }[what]
    )
    make_run(out.parent / "runs", "delta", random_scores(1.0), dataset={"name": "fish"})
    code, shown, err = told("runs", "--runs", str(out), "--json")
    answer = json.loads(shown)
    states = {r["model"]: r["state"] for r in answer["runs"]}
    assert code == 0 and states["delta"] == "finished"
    assert f"{place} {MAY_NOT}" in " ".join(
        [*answer["unread"], *(r["to_do"] for r in answer["runs"])]
    )
    assert states.get("beta") == ("not readable" if what in ("record", "run") else None)
    page = out.parent / "page"
    out.parent.chmod(0o777)
    told("report", "--out", str(page), "--runs", str(out))
    _, _, err = told("report", "--out", str(out.parent / "other"), "--runs", str(out))
    assert f"{place} {MAY_NOT}" in err


@pytest.mark.parametrize("file", ["record.json", "scores.npz"])
def test_evaluate_says_that_it_may_not_read(out: Path, file: str) -> None:
    place = closed(run_of(out, "alpha") / file)
    code, _, err = told("evaluate", str(run_of(out, "alpha")))
    assert (
        code == 2 and f"{place} {MAY_NOT}" in err and "missing" not in err and "damaged" not in err
    )


def test_a_run_that_is_there_is_used_where_nothing_may_be_written(out: Path) -> None:
    """Without a lock, which cannot be made there."""
    run = run_of(out, "alpha")
    for lock in run.parent.glob(".*.lock"):
        lock.unlink()

    def act() -> str:
        with RunFolder.open(out, "birds", "alpha", 0, run.name.split("-")[1]) as folder:
            return str(folder.finished)

    assert apart(act) == "True"


def test_the_kept_model_can_be_read_by_others_and_says_so_if_not(out: Path) -> None:
    """The library that writes the file gives it to its owner alone."""
    path = out / "model.safetensors"
    before = os.umask(0o022)
    try:
        weights.save(torch.nn.Linear(1, 1), path)  # type: ignore[arg-type]
    finally:
        os.umask(before)
    assert (
        path.stat().st_mode & 0o777 == 0o644 and apart(lambda: str(len(weights.read(path)))) == "2"
    )
    closed(path)
    for read in (weights.read, read_state, checkpoint.load):
        assert apart(lambda read=read: str(read(path))).endswith(
            f"NotPermitted: {not_permitted(path)}"
        )  # type: ignore[misc]
    path.unlink()
    assert "is missing" in apart(lambda: str(weights.read(path)))
