"""A record that was edited by hand: no command prints a figure that the kept scores contradict."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calls import Go, caller
from run_folders import make_run, random_scores

import zslkit
from zslkit.errors import DataError
from zslkit.runs.folders import RECORD

FORGED = 99.25
"""No other figure is printed like it, at any precision."""


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / RECORD).read_text())
    change(record)
    (folder / RECORD).write_text(json.dumps(record))


def better(record: dict[str, Any]) -> None:
    record["metrics"]["H"] = FORGED


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "H": (better, "says H 99.25"),
    "U": (lambda r: r["metrics"].update(U=FORGED), "says U 99.25"),
    "S": (lambda r: r["metrics"].update(S=FORGED), "says S 99.25"),
    "T1": (lambda r: r["metrics"].update(T1=FORGED), "says T1 99.25"),
    "AUSUC": (lambda r: r["metrics"].update(AUSUC=0.9925), "says AUSUC 0.9925"),
    "H without calibration": (lambda r: r["uncalibrated"].update(H=FORGED), "H at gamma 0 99.25"),
    "chance": (lambda r: r["chance"].update(H=FORGED), "H of chance 99.25"),
    "one class": (lambda r: r["per_class"].update({"class 3": FORGED}), "class 'class 3' 99.25"),
    "no figure of a class": (lambda r: r["per_class"].update({"class 3": None}), "class 3"),
    "a class left out": (lambda r: r["per_class"].pop("class 3"), "other classes"),
    "gamma": (lambda r: r["protocol"].update(gamma=1.75), "says"),
    "no calibration": (lambda r: r["protocol"].update(calibration="none"), "not calibrated"),
    "the counts": (lambda r: r["dataset"].update(n_test_unseen=61), "n_test_unseen 61"),
    "a setting": (lambda r: r["config"].update(lr=0.2), "say different settings (lr)"),
    "the seed": (lambda r: r.update(seed=1), "of seed 1"),
    "the model": (
        lambda r: r["model"].update(name="gamma"),
        'a run of {"model": "gamma", "dataset": "birds", "seed": 0}, and its config.yaml a run of',
    ),
    "the dataset": (
        lambda r: r["dataset"].update(name="fish"),
        'a run of {"model": "alpha", "dataset": "fish", "seed": 0}',
    ),
    "the best gamma on test": (
        lambda r: r.update(optimistic={"H_gamma_on_test": FORGED}),
        "H under the best gamma on test 99.25",
    ),
    "an epoch picked on test": (
        lambda r: r.update(optimistic={"H": FORGED, "U": 60.0, "S": 60.0, "T1": 90.0}),
        "H of its U and S picked on test 99.25 and its scores give 60",
    ),
    "one that would not be picked": (
        lambda r: r.update(optimistic={"H": 1.0, "U": 1.0, "S": 1.0, "T1": 90.0}),
        "H picked on test 1",
    ),
}


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Go:
    """go(words...) in a folder with two runs in `runs`: alpha, which is calibrated, and beta."""
    monkeypatch.chdir(tmp_path)
    calibrated = {"calibration": "validation", "gamma": 0.25}
    make_run(Path("runs"), "alpha", random_scores(1.5, 3), protocol=calibrated)
    make_run(Path("runs"), "beta", random_scores(0.5, 3))
    return caller(capsys)


def of(model: str) -> Path:
    (folder,) = Path("runs").glob(f"*/{model}/seed*")
    return folder


@pytest.mark.parametrize("edit", EDITS)
def test_a_run_whose_record_was_edited_stands_in_no_table(go: Go, edit: str) -> None:
    assert go("compare", "runs")[0] == 0
    change, words = EDITS[edit]
    forge(of("alpha"), change)
    code, out, err = go("compare", "runs", "--format", "csv")
    assert code == 2
    rows = [row["model"] for row in csv.DictReader(io.StringIO(out)) if row["kind"] == "runs"]
    assert set(rows) == {"beta"}
    assert words in err and str(of("alpha")) in err and err.count("Left out: ") == 1
    code, out, err = go("compare", of("alpha"))
    assert code == 2 and not out and words in err


def test_a_run_that_was_copied_or_linked_elsewhere_is_sound(go: Go, tmp_path: Path) -> None:
    shutil.copytree(of("alpha"), tmp_path / "best" / "a" / of("alpha").name)
    shutil.copytree(of("alpha"), tmp_path / "best" / "alpha" / of("alpha").name)
    Path("latest").symlink_to(of("alpha").parent)
    Path("store").mkdir()
    Path("runs/birds/beta").rename("store/x")
    Path("runs/birds/beta").symlink_to(Path("store/x").absolute())
    for place in (*Path("best").glob("*/*"), *Path("latest").glob("seed*"), of("beta")):
        assert go("compare", place)[0] == 0, place


def test_compare_names_it_in_json(go: Go) -> None:
    forge(of("alpha"), better)
    code, out, _ = go("compare", "runs", "--json")
    data = json.loads(out)
    assert code == 2 and str(FORGED) not in json.dumps([data["blocks"], data["runs"]])
    assert [(f["model"], f["seed"]) for f in data["failures"]] == [("alpha", 0)]
    assert "its record says H 99.25" in data["failures"][0]["reason"]


def test_the_list_of_runs_shows_no_figure_of_it(go: Go) -> None:
    assert go("runs")[0] == 0
    forge(of("alpha"), better)
    code, out, err = go("runs")
    (line,) = [line for line in out.splitlines() if line.startswith("alpha")]
    assert code == 2 and line.split()[:4] == ["alpha", "birds", "0", "-"]
    assert "its record says H 99.25" in err
    code, out, _ = go("runs", "--json")
    by_model = {run["model"]: run for run in json.loads(out)["runs"]}
    assert code == 2 and by_model["alpha"]["metrics"] is None
    assert "its record says H" in by_model["alpha"]["to_do"]
    assert by_model["beta"]["metrics"] is not None and not by_model["beta"]["to_do"]
    code, out, err = go("runs", "--format", "csv")
    assert code == 2 and {row["model"] for row in csv.DictReader(io.StringIO(out))} == {"beta"}
    assert "Left out: " in err
    code, out, _ = go("runs", of("alpha"), "--tag", "paper")
    assert code == 2 and "99.2" not in out


def test_the_page_leaves_it_out_and_says_so(go: Go) -> None:
    forge(of("alpha"), better)
    code, out, err = go("report", "--out", "page")
    assert code == 2 and "1 run in 1 row" in out and "its record says H" in err
    data = json.loads(Path("page/report.json").read_text())
    assert "its record says H" in json.dumps(data.pop("left_out"))
    assert "99.25" not in json.dumps(data)
    forge(of("beta"), better)
    code, out, err = go("report", "--out", "other")
    assert code == 2 and not Path("other").exists() and "its record says H" in err


def test_metrics_and_differences_of_it_are_refused_and_a_gamma_by_hand_measures_the_scores(
    go: Go,
) -> None:
    forge(of("alpha"), lambda r: r["protocol"].update(gamma=1.75))
    code, out, err = go("evaluate", of("alpha"))
    assert code == 2 and not out and "its record says" in err
    assert go("evaluate", of("alpha"), "--gamma", "0.25")[0] == 0
    code, out, err = go("diff", of("beta"), of("alpha"))
    assert code == 2 and not out and "its record says" in err


def test_from_python_it_opens_no_more_and_is_a_failure_of_a_comparison(go: Go) -> None:
    sound = zslkit.open_run(of("alpha"))
    forge(of("alpha"), better)
    with pytest.raises(DataError, match="its record says H"):
        zslkit.open_run(of("alpha"))
    assert zslkit.evaluate(sound).metrics == sound.metrics
    compared = zslkit.compare(["runs"])
    assert [result.record.model.name for result in compared.results] == ["beta"]
    (failure,) = compared.failures
    assert (failure.model, failure.seed) == ("alpha", 0) and "its record says" in str(failure)


def test_one_run_is_no_second_seed(go: Go) -> None:
    first = of("alpha")
    copy = first.with_name(first.name.replace("seed0", "seed1"))
    shutil.copytree(first, copy)
    forge(copy, lambda r: r.update(seed=1))
    code, out, err = go("compare", "runs", "--json")
    rows = [row["model"] for block in json.loads(out)["blocks"] for row in block["rows"]]
    assert code == 2 and rows == ["beta"]
    assert err.count("and another seed") == 2 and str(first) in err and str(copy) in err


def test_scores_that_are_gone_contradict_nothing(go: Go) -> None:
    (of("alpha") / "scores.npz").unlink()
    assert go("compare", "runs")[0] == go("runs")[0] == 0
