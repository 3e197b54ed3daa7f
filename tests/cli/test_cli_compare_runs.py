"""`compare` of finished runs by folder, pattern and tag; its columns, its caption, and the mark of
changed settings."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_run, random_scores

from zslkit.cli import app
from zslkit.runs.tags import change_tags


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of two models of nobody's, one of them with changed settings; the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zslkit.runs.api.run", lambda **_: pytest.fail("it runs something"))
    for seed in (0, 1):
        make_run(Path("runs"), "plain", random_scores(1.0, seed), seed)
    changed = make_run(
        Path("runs"),
        "tuned",
        random_scores(3.0),
        config={"train": {"epochs": 2}, "lr": 0.1},
        usual={"train.epochs": 15, "features.size": 224},
    )
    change_tags(changed, add="paper")
    return tmp_path / "runs"


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert app.main(["compare", *words]) == 0
    return capsys.readouterr().out


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[tuple[str, int]]:
    (block,) = json.loads(printed(capsys, *words, "--json"))["blocks"]
    return [(row["model"], row["n"]) for row in block["rows"]]


def test_folders_patterns_and_tags_are_taken_as_they_are(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [("plain", 2), ("tuned", 1)]
    one = next((runs / "birds/plain").glob("seed0-*"))
    assert rows(capsys, "runs") == rows(capsys, "runs/birds/plain", "paper") == both
    assert rows(capsys, "runs/*/*/seed*") == rows(capsys, "runs/birds", str(one)) == both
    assert rows(capsys, str(one)) == [("plain", 1)]
    assert rows(capsys, "paper") == [("tuned", 1)]
    assert rows(capsys, "paper", "--debug") == [("tuned", 1)]


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_every_format_prints_runs_of_models_that_are_not_installed(
    runs: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    text = printed(capsys, "runs", "--format", form)
    assert "plain" in text and "tuned" in text


def test_what_is_left_out_of_a_folder_is_named_and_what_is_nothing_is_an_error(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next((runs / "birds/plain").glob("seed0-*"))
    (one / "record.json").write_text("{")
    assert app.main(["compare", "runs", "--json"]) == 0
    assert str(one.relative_to(runs.parent)) in capsys.readouterr().err
    half = one.with_name("seed7-0123456789ab.partial")
    half.mkdir()
    for words, said in {
        (str(one),): "is cut off or no JSON",
        (str(half),): "was not finished",
        ("runs/nothing*",): "No finished run matches runs/nothing*",
        ("runs/birds/plain/seed7*",): "No finished run matches",
        ("papr",): "Nor is it a folder of runs, or a tag below runs",
        ("eszl",): 'did you mean "eszsl"',
        ("runs", "--seeds", "0,1"): "--seeds says how models are run",
        ("runs", "--set", "a=1"): "--set says how models are run",
        ("runs", "--columns", ","): "it takes names of columns with commas between them",
    }.items():
        assert app.main(["compare", *words]) == 2, words
        assert said in capsys.readouterr().err


def test_markdown_and_latex_show_costs_only_where_asked(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = printed(capsys, "runs", "--markdown")
    assert "| model | runs | T1 | U | S | H | AUSUC | protocol |" in markdown
    latex = printed(capsys, "runs", "--format", "latex")
    assert r"model & runs & T1 & U & S & H & AUSUC \\" in latex
    chosen = ["--columns", "H, T1,peak-memory"]
    assert "| model | H | T1 | peak memory |" in printed(capsys, "runs", "--markdown", *chosen)
    latex = printed(capsys, "runs", "--format", "latex", *chosen)
    assert r"model & H & T1 & peak memory \\" in latex and r"\begin{tabular}{lrrr}" in latex
    assert "plain: inductive, last epoch, uncalibrated" in latex


def test_a_table_without_the_protocol_says_below_how_its_rows_were_made(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("table", "markdown", "latex"):
        text = printed(capsys, "runs", "--format", form, "--columns", "H-none,H")
        assert "plain: inductive, last epoch, uncalibrated" in text
        assert "gamma 0" in text


def test_a_caption_stands_for_the_title_which_becomes_a_note(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latex = printed(capsys, "runs", "--format", "latex", "--caption", "Birds & more")
    assert r"\caption{Birds \& more}" in latex and "All rows: Birds, net frozen" in latex
    markdown = printed(capsys, "runs", "--markdown", "--caption", "Birds | more")
    assert markdown.startswith("### Birds \\| more") and "- All rows: Birds, net" in markdown


def test_two_tables_keep_their_titles_behind_the_caption(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs, "plain", random_scores(1.0), 2, features={"backbone": "other"})
    text = printed(capsys, "runs", "--markdown", "--caption", "Both")
    assert "### Both (Birds, net frozen" in text and "### Both (Birds, other frozen" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--columns", "H,T2"], "There is no column 'T2'"),
        (["--columns", "parameter"], 'did you mean "parameters"'),
        (["--columns", "H", "--json"], "--columns goes with --format table, markdown, latex"),
        (["--caption", "x", "--format", "csv"], "--caption goes with"),
    ],
)
def test_columns_and_captions_that_cannot_be_shown_are_refused(
    runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert app.main(["compare", "runs", *words]) == 2
    assert said in capsys.readouterr().err


def test_changed_settings_are_marked_and_named_in_every_format(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "settings other than the preset's or default: tuned: train.epochs=2 (usually 15)."
    table = printed(capsys, "runs")
    assert "tuned†" in table and "plain†" not in table and f"† {line}" in table
    assert f"- † {line}" in printed(capsys, "runs", "--markdown")
    latex = printed(capsys, "runs", "--format", "latex")
    assert r"tuned$^\dagger$ & 1" in latex and rf"$^\dagger$ {line}" in latex.replace(r"\_", "_")
    assert app.main(["compare", "runs", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    lines = {row["model"]: row["changed"] for row in csv.DictReader(io.StringIO(out))}
    assert lines == {"plain": "", "tuned": "train.epochs=2", "chance": ""} and line in err
    (block,) = json.loads(printed(capsys, "runs", "--json"))["blocks"]
    assert [row["changed"] for row in block["rows"]] == [
        {},
        {"train.epochs": {"value": 2, "usual": 15}},
    ]


def test_the_page_marks_and_names_changed_settings(runs: Path) -> None:
    assert app.main(["report", "--out", "page"]) == 0
    page = (runs.parent / "page" / "index.html").read_text(encoding="utf-8")
    assert page.count("†</span>") == 1 and "train.epochs=2 (usually 15)" in page


def test_an_older_record_is_marked_by_where_its_settings_come_from(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origins = {"lr": "--set", "train.epochs": "preset p", "features.reduction": "dataset birds"}
    make_run(runs, "old", random_scores(2.0), config={"lr": 0.1}, origins=origins)
    assert "old: lr=0.1;" in printed(capsys, "runs")


def test_the_former_word_for_the_table_works_with_a_note(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = printed(capsys, "runs", "--format", "table")
    assert app.main(["compare", "runs", "--format", "terminal"]) == 0
    out, err = capsys.readouterr()
    assert out == table and "--format terminal is called --format table now" in err


def test_models_and_runs_stand_in_one_table(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zslkit.runs.api import Result
    from zslkit.runs.folders import load_run

    own = load_run(make_run(runs.parent / "own", "eszsl", random_scores(2.0)))

    def run(**arguments: Any) -> Result:
        assert (arguments["model"], arguments["seed"]) == ("eszsl", 0)
        return Result(own.record, own.folder, reused=False)

    monkeypatch.setattr("zslkit.runs.api.run", run)
    assert rows(capsys, "eszsl", "paper") == [("eszsl", 1), ("tuned", 1)]
