"""`zslkit report` end to end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import make_run, random_scores

from zslkit.cli import app
from zslkit.runs.tags import change_tags


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name, seed in (("alpha", 0), ("alpha", 1), ("beta", 0)):
        make_run(tmp_path / "runs", name, random_scores(1.0, seed), seed)
    return tmp_path / "runs"


def test_the_command_writes_the_page_and_says_where(
    zslkit: Callable[..., subprocess.CompletedProcess[str]], out: Path
) -> None:
    done = zslkit("report", "--out", "page")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.startswith("written: page/index.html (3 runs in 2 rows, ")
        and done.stdout.count("\n") == 1
    )
    assert done.stderr == ""
    assert sorted(p.name for p in (out.parent / "page").iterdir()) == ["index.html", "report.json"]


@pytest.mark.parametrize(("word", "found"), [("paper", 1), ("{tmp}/runs/*/alpha/seed*", 2)])
def test_runs_are_named_by_tag_and_pattern(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, found: int
) -> None:
    (folder,) = (out / "birds" / "beta").glob("seed0-*")
    change_tags(folder, "paper", None, lambda sentence: None)
    place = ["--runs", str(out), "--out", str(tmp_path / "page"), "--json"]
    assert app.main(["report", word.format(tmp=tmp_path), *place]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert len(runs) == found
    if word == "paper":
        assert runs == [str(folder)]


def test_json_names_the_page_and_its_runs(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        app.main(
            [
                "report",
                "--runs",
                str(out),
                "--out",
                str(tmp_path / "page"),
                "--json",
                "--title",
                "Ours",
            ]
        )
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(tmp_path / "page" / "index.html")
    assert len(said["runs"]) == 3 and said["rows"] == 2 and said["left_out"] == []
    assert said["bytes"] == (tmp_path / "page" / "index.html").stat().st_size
    assert "<title>Ours</title>" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


def test_a_named_run_that_cannot_be_read_is_told_and_the_others_are_shown(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = sorted((out / "birds" / "alpha").glob("seed*"))
    (bad / "record.json").write_text('{"schema', encoding="utf-8")
    assert app.main(["report", str(good), str(bad), "--out", str(tmp_path / "page")]) == 2
    captured = capsys.readouterr()
    assert "1 run in 1 row" in captured.out
    assert captured.err.count("\n") == 1 and str(bad) in captured.err and "cut off" in captured.err
    assert str(bad) in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


def test_below_out_a_damaged_run_is_told_and_is_no_failure(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = next((out / "birds" / "beta").glob("seed*"))
    (bad / "record.json").write_text('{"schema', encoding="utf-8")
    assert app.main(["report", "--runs", str(out), "--out", str(tmp_path / "page")]) == 0
    assert str(bad) in capsys.readouterr().err


def test_what_picking_on_test_would_print_is_asked_for_and_counted_apart(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["report", "--runs", str(out), "--out", str(tmp_path / "page")]
    assert app.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["as_papers_do"] is None
    assert app.main([*arguments, "--as-papers-do", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["as_papers_do"]) == (2, 2)
    assert app.main([*arguments, "--as-papers-do"]) == 0
    assert "3 runs in 2 rows and 2 rows picked on test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--runs", "{tmp}/none", "--out", "{tmp}/page"],
            "There is no folder {tmp}/none; say where the runs are with --runs",
        ),
        (
            ["--runs", "{tmp}/empty", "--out", "{tmp}/page"],
            "There is no finished run in {tmp}/empty, so there is nothing to report",
        ),
        (
            ["--runs", "{tmp}/runs", "--out", "{tmp}/runs"],
            "{tmp}/runs holds birds, which no report wrote",
        ),
        (["--runs", "{tmp}/runs", "--out", "{tmp}/page", "-d", "bird"], 'did you mean "birds"?'),
        (
            ["--runs", "{tmp}/runs", "--out", "{tmp}/page", "--heat-maps", "2"],
            "say where the data is with --data-root",
        ),
        (
            ["{tmp}/runs/birds/nobody", "--out", "{tmp}/page"],
            "There is no run folder {tmp}/runs/birds/nobody",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert app.main(["report", *(option.format(tmp=tmp_path) for option in options)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert said.format(tmp=tmp_path) in captured.err
    assert not (tmp_path / "page").exists()
