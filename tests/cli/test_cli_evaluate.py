"""`zslkit evaluate`: metrics by name, as text and as JSON, from run folders."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import make_run, random_scores

from zslkit.cli import app
from zslkit.evaluation.catalog import METRICS
from zslkit.evaluation.gzsl import evaluate, peak
from zslkit.evaluation.sets import checked_sets
from zslkit.runs.folders import SCORES
from zslkit.runs.tags import change_tags


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs", "alpha", random_scores(1.0))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert app.main(["evaluate", *arguments]) == 0
    return json.loads(capsys.readouterr().out)["runs"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["{runs}"], 3),
        (["{runs}/birds/alpha"], 2),
        (["{runs}/*/*/seed0-*"], 2),
        (["paper"], 1),
        (["paper", "{runs}/birds"], 3),
    ],
)
def test_runs_are_named_by_folder_pattern_and_tag_each_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], found: int
) -> None:
    for name, seed in (("alpha", 0), ("alpha", 1), ("beta", 0)):
        folder = make_run(tmp_path / "runs", name, random_scores(1.0, seed), seed)
    change_tags(folder, "paper", None, lambda sentence: None)
    named = [word.format(runs=tmp_path / "runs") for word in words]
    runs = told(capsys, *named, "--runs", str(tmp_path / "runs"), "--json")
    assert len({run["run_folder"] for run in runs}) == len(runs) == found
    if words == ["paper"]:
        assert runs[0]["model"] == "beta"


def test_a_word_that_names_no_run_is_told_with_the_tags_there_are(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_tags(run, "paper", None, lambda sentence: None)
    assert app.main(["evaluate", "papers", "--runs", str(tmp_path / "runs")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "There is no run folder or tag 'papers'; did you mean \"paper\"?" in err


def test_json_holds_every_small_metric_unasked_and_the_large_ones_when_asked(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small,) = told(capsys, str(run), "--json")
    assert set(small["metrics"]) | set(small["more"]) == {
        name for name, metric in METRICS.items() if not metric.large
    }
    (every,) = told(capsys, str(run), "--json", "--metrics", "all")
    assert set(every["metrics"]) | set(every["more"]) == set(METRICS) - {"confusion"}
    (whole,) = told(capsys, str(run), "--json", "--metrics", "all, Confusion")
    assert set(whole["metrics"]) | set(whole["more"]) == set(METRICS)
    assert whole["optimistic"] == ["H-oracle"]
    scores = random_scores(1.0)
    assert whole["metrics"] == evaluate(*scores.sets()).figures()
    assert whole["more"]["H-oracle"] == peak(checked_sets(*scores.sets()).curve())[1]
    assert whole["more"]["H-validation"] is None
    assert np.sum(whole["more"]["confusion"]["images"]) == 120
    assert whole["more"]["curve"][0] == {
        "above": None,
        "S": pytest.approx(whole["more"]["curve"][0]["S"]),
        "U": 0.0,
    }


def test_named_metrics_are_printed_with_what_they_mean(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["evaluate", str(run), "--metrics", "h-oracle,ECE"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("alpha on birds, seed 0, gamma 0 (not calibrated), ")
    assert [line.split()[0] for line in lines[1:]] == ["made:", "metric", "H-oracle", "ECE"]
    assert (
        lines[1]
        == "made: inductive, last epoch, uncalibrated, net, backbone frozen, 8 px, split 50115011, "
        "pooled, attributes 5e3a5e3a"
    )
    assert "optimistic, no result" in lines[3]


def test_each_row_says_how_it_was_made_and_a_gamma_of_one_s_own_is_marked(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["evaluate", str(run)]) == 0
    assert (
        "inductive, last epoch, uncalibrated, net, backbone frozen, 8 px, split 50115011"
        in capsys.readouterr().out
    )
    assert app.main(["evaluate", str(run), "--gamma", "1"]) == 0
    assert "gamma given by hand" in capsys.readouterr().out
    assert told(capsys, str(run), "--json")[0]["badges"]["calibration"] == "none"
    assert told(capsys, str(run), "--json", "--gamma", "1")[0]["badges"]["calibration"] == "by hand"


def test_runs_of_different_splits_are_told_not_to_be_comparable(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(
        tmp_path,
        "beta",
        random_scores(1.0),
        fingerprints={"split": "beef" * 4},
        features={"tuned": True},
    )
    elsewhere = make_run(
        tmp_path,
        "beta",
        random_scores(1.0),
        dataset={"name": "scenes"},
        fingerprints={"split": "beef" * 4},
    )
    assert app.main(["evaluate", str(run), str(elsewhere)]) == 0
    assert "may be compared" not in capsys.readouterr().err
    assert app.main(["evaluate", str(run), str(other), str(elsewhere)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    wanted = "split (split 50115011, split beefbeef); backbone frozen or tuned (frozen, tuned)"
    assert line.endswith(
        f"Not all runs on birds may be compared with each other: they differ in {wanted}."
    )


def test_all_prints_tables_in_short(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["evaluate", str(run), "--metrics", "all"]) == 0
    text = capsys.readouterr().out
    for word in ("class 5", "the most frequent of", "gamma above", "points; --json prints all"):
        assert word in text


def test_a_run_calibrated_on_validation_shows_h_under_that_gamma(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(
        tmp_path, "alpha", random_scores(1.0), protocol={"calibration": "validation", "gamma": 0.5}
    )
    (found,) = told(capsys, str(run), "--json", "--gamma", "9")
    assert found["more"]["H-validation"] == evaluate(*random_scores(1.0).sets(), 0.5).H
    assert found["metrics"]["H"] == evaluate(*random_scores(1.0).sets(), 9.0).H


def test_an_unknown_metric_names_the_nearest(
    zslkit: Callable[..., subprocess.CompletedProcess[str]], run: Path
) -> None:
    done = zslkit("evaluate", str(run), "--metrics", "H,orcale")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("zslkit: There is no metric 'orcale'")
    done = zslkit("evaluate", str(run), "--metrics", "h-orcale")
    assert 'did you mean "H-oracle"' in done.stderr


@pytest.mark.parametrize("fault", ["gone", "cut", "nan"])
def test_scores_that_cannot_be_used_are_one_sentence_that_names_the_run(
    zslkit: Callable[..., subprocess.CompletedProcess[str]], run: Path, fault: str
) -> None:
    place = run / SCORES
    if fault == "gone":
        place.unlink()
    elif fault == "cut":
        place.write_bytes(place.read_bytes()[:-200])
    else:
        arrays = dict(np.load(place))
        arrays["test_unseen_scores"][3, 1] = np.nan
        np.savez(place, **arrays)
    done = zslkit("evaluate", str(run), "--metrics", "all", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert str(run) in line
    assert {
        "gone": "missing",
        "cut": "cut off or damaged",
        "nan": "not finite (image 3, class 1: nan)",
    }[fault] in line


@pytest.mark.parametrize("line", [[], ["--json"], ["--json", "--per-class"], ["--metrics", "all"]])
def test_class_names_that_stand_twice_are_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    arrays = dict(np.load(run / SCORES))
    arrays["classes"][3] = arrays["classes"][1]
    np.savez(run / SCORES, **arrays)
    assert app.main(["evaluate", str(run), *line]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert f"{run / SCORES}: the class name 'class 1' stands more than once in classes" in err
