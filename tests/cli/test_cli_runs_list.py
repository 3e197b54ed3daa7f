"""`zslkit runs` and the policies --again and --no-run, end to end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_run, random_scores

from zslkit.cli import app
from zslkit.cli.options import overrides
from zslkit.config.merge import flat
from zslkit.runs import api
from zslkit.runs.find import matching_runs
from zslkit.runs.plan import make_plan

ESZSL = {"name": "eszsl", "distribution": "zslkit"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name, seed in (("alpha", 0), ("alpha", 1), ("beta", 0)):
        make_run(tmp_path / "runs", name, random_scores(1.0, seed), seed)
    return tmp_path / "runs"


def listed(capsys: pytest.CaptureFixture[str], out: Path, *options: str) -> list[dict[str, Any]]:
    assert app.main(["runs", "--runs", str(out), "--json", *options]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["runs"]
    return found


def test_the_list_and_its_filters(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = listed(capsys, out)
    assert [(r["model"], r["seed"], r["state"]) for r in runs] == [
        ("alpha", 0, "finished"),
        ("alpha", 1, "finished"),
        ("beta", 0, "finished"),
    ]
    assert all(
        r["dataset"] == "birds" and r["finished"].startswith("2025-01-02") and r["metrics"]["H"] > 0
        for r in runs
    )
    assert [r["model"] for r in listed(capsys, out, "--model", "beta")] == ["beta"]
    assert app.main(["runs", "--runs", str(out), "--model", "alhpa"]) == 2
    assert 'did you mean "alpha"' in capsys.readouterr().err
    assert app.main(["runs", "--runs", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["alpha", "birds", "0"]


def test_tagged_runs_are_found_by_their_tag(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = listed(capsys, out)[2]["run_folder"]
    assert [r["tags"] for r in listed(capsys, out, "--tag", "paper", folder)] == [["paper"]]
    assert [r["run_folder"] for r in listed(capsys, out, "--tagged", "paper")] == [folder]
    assert [r["tags"] for r in listed(capsys, out, "--untag", "paper", folder)] == [[]]


def test_half_written_runs_are_shown_with_what_to_do(
    out: Path, zslkit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (out / "birds" / "beta" / f"seed4-{'0' * 12}.partial").mkdir()
    done = zslkit("runs", "--runs", str(out))
    assert done.returncode == 0
    assert [line.split()[:5] for line in done.stdout.splitlines() if "half-written" in line] == [
        ["beta", "birds", "4", "-", "-"]
    ]
    assert "start the same run again and it goes on from there" in done.stderr


def test_removing_needs_yes_and_removes_nothing_if_one_is_no_run(
    out: Path, zslkit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    first, second = (path for path in sorted((out / "birds" / "alpha").iterdir()) if path.is_dir())
    asked = zslkit("runs", "--runs", str(out), "--remove", str(first))
    assert asked.returncode == 2 and "add --yes" in asked.stderr and first.is_dir()
    wrong = zslkit("runs", "--runs", str(out), "--remove", "--yes", str(first), str(out))
    assert wrong.returncode == 2 and "is no run folder" in wrong.stderr and first.is_dir()
    done = zslkit("runs", "--runs", str(out), "--remove", "--yes", str(first))
    assert (done.returncode, done.stdout) == (0, f"removed {first}\n")
    assert not first.exists() and second.is_dir()


@pytest.mark.parametrize(
    "line", ["--remove", "--untag a", "--yes", "x --model a", "x --remove --tag a"]
)
def test_options_that_make_no_sense_together_are_refused(
    out: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert app.main(["runs", "--runs", str(out), *line.split()]) == 2
    assert capsys.readouterr().out == ""


def settled(out: Path, seed: int, **changes: Any) -> Path:
    """A run of eszsl on digits with the settings that the command would use."""
    plan = make_plan("eszsl", "digits", overrides=overrides({"feed": "frozen"}))
    said = {"model": ESZSL, "dataset": {"name": "digits"}, "config": plan.values, **changes}
    return make_run(out, "eszsl", random_scores(1.0, seed), seed, **said)


def test_no_run_shows_what_is_there_and_names_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "run", lambda *_, **__: pytest.fail("it ran"))
    folder = settled(tmp_path, 0)
    line = ["--out", str(tmp_path), "--no-run", "--json"]
    assert app.main(["compare", "eszsl", "--seeds", "0,1", *line]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [run["run_folder"] for run in told["runs"]] == [str(folder)]
    assert told["missing"] == [{"model": "eszsl", "seed": 1}]
    assert "eszsl (seed 1)" in err
    assert app.main(["run", "-m", "eszsl", "--input", "frozen", *line]) == 0
    assert json.loads(capsys.readouterr().out)["run_folder"] == str(folder)
    for other in (
        ["run", "-m", "eszsl", "--seed", "3"],
        ["compare", "eszsl", "--set", "protocol.folds=2"],
    ):
        assert app.main([*other, *line]) == 2
        assert "leave --no-run" in capsys.readouterr().err
    assert app.main(["compare", "eszsl", "--again", *line]) == 2


def test_what_validation_picked_may_differ_and_nothing_else(tmp_path: Path) -> None:
    from zslkit.runs.folders import load_run

    looked_for = make_plan("eszsl", "digits", overrides=overrides({"feed": "frozen"}))
    picked = load_run(
        settled(
            tmp_path,
            0,
            config={**looked_for.values, "gamma": 77.0},
            origins={"gamma": "picked on validation"},
        )
    )
    given = load_run(settled(tmp_path, 1, config={**looked_for.values, "gamma": 77.0}))
    assert matching_runs([picked, given], looked_for, 0) == [picked]
    assert matching_runs([picked, given], looked_for, 1) == []


def test_settings_by_dotted_key() -> None:
    assert flat({"a": 1, "b": {"c": 2, "d": {}}}) == {"a": 1, "b.c": 2, "b.d": {}}


def test_without_running_another_source_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = settled(tmp_path, 0)
    line = ["--out", str(tmp_path), "--no-run", "--json"]
    for source, said in (({}, False), ({"zslkit_baselines.eszsl": "0" * 16}, True)):
        record = json.loads((folder / "record.json").read_text())
        record["model"]["source"] = source
        (folder / "record.json").write_text(json.dumps(record))
        for command in (["compare", "eszsl"], ["run", "-m", "eszsl", "--input", "frozen"]):
            assert app.main([*command, *line]) == 0
            assert (
                "1 of 1 runs of eszsl that are shown were made by another source of it"
                in capsys.readouterr().err
            ) == said
