"""`compare` end to end on folders that are there: formats, intervals, tests, and what cannot be
read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_run, random_scores

from zslkit.cli import app
from zslkit.runs import api
from zslkit.runs.api import Result
from zslkit.runs.folders import SCORES, load_run


@pytest.fixture(autouse=True)
def _no_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in: finished runs of the one that tests start in would be found."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], Path]:
    """Finished runs of two models that experiment.run finds."""
    made = {
        (name, seed): make_run(tmp_path, name, random_scores(skill, seed), seed)
        for name, skill in (("eszsl", 3.0), ("dazle", 1.0))
        for seed in (0, 1)
    }

    def run(model: str, dataset: str, *, seed: int, **others: Any) -> Result:
        return Result(load_run(made[model, seed]).record, made[model, seed], reused=True)

    monkeypatch.setattr(api, "run", run)
    return made


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert app.main(["compare", "eszsl", "dazle", "--seeds", "0,1", *options]) == 0
    return capsys.readouterr().out


def test_json_holds_all_pairs_intervals_and_folders(
    folders: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = json.loads(printed(capsys, "--json"))["blocks"]
    (pair,) = block["sampling"]["pairs"]
    assert pair["models"] == ["dazle", "eszsl"] and pair["significant"] and pair["difference"] < 0
    assert {
        "p",
        "p_holm",
        "low",
        "high",
        "mcnemar_p",
        "mcnemar_p_holm",
        "only_a",
        "only_b",
        "seeds_each",
        "seeds_said",
    } <= set(pair)
    for row in block["rows"]:
        assert row["folders"] == [str(folders[row["model"], seed]) for seed in (0, 1)]
        assert row["intervals"]["H"][0] < row["metrics"]["H"]["mean"] < row["intervals"]["H"][1]
    assert json.loads(printed(capsys, "--format", "json"))["blocks"] == [block]


def test_short_forms_are_the_formats_and_two_formats_exclude_each_other(
    folders: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        printed(capsys, "--markdown")
        == printed(capsys, "--format", "markdown")
        == printed(capsys, "--format", "markdown", "--markdown")
    )
    for options in (
        ["--markdown", "--json"],
        ["--format", "csv", "--json"],
        ["--format", "latex", "--markdown"],
    ):
        assert app.main(["compare", "eszsl", *options]) == 2
        out, err = capsys.readouterr()
        assert out == "" and "exclude each other" in err
    assert app.main(["compare", "eszsl", "--format", "html"]) == 2


def test_latex_and_csv_are_printed_and_nothing_else(
    folders: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "--format", "latex")
    assert text.startswith("% needs") and text.rstrip().endswith(r"\end{table}")
    lines = list(csv.DictReader(io.StringIO(printed(capsys, "--format", "csv"))))
    assert [line["folders"].count("|") for line in lines if line["kind"] == "runs"] == [1, 1]


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_a_run_without_scores_is_named_in_every_format(
    folders: Any, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    (folders["dazle", 1] / SCORES).unlink()
    assert app.main(["compare", "eszsl", "dazle", "--seeds", "0,1", "--format", form]) == 0
    out, err = capsys.readouterr()
    said = (err if form == "csv" else out).replace("\\_", "_")
    assert "dazle has no interval and stands in no test: " in said
    assert str(folders["dazle", 1] / SCORES) in said
