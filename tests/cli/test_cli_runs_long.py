"""`zslkit runs --format csv|parquet`: all figures of the finished runs, a row each."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest
from run_folders import make_run, random_scores

from zslkit.cli import app
from zslkit.record import RunRecord
from zslkit.runs.folders import load_run

COLUMNS = ["run", "model", "dataset", "seed", "metric", "value", "protocol", "finished"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A calibrated and an uncalibrated run."""
    calibrated = {"gamma": 0.5, "calibration": "validation"}
    make_run(tmp_path / "runs", "a", random_scores(1.0), protocol=calibrated)
    make_run(tmp_path / "runs", "b", random_scores(2.0), 3)
    return tmp_path / "runs"


def record_of(runs: Path, model: str) -> RunRecord:
    return load_run(next((runs / "birds" / model).iterdir())).record


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_holds_one_figure_of_one_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["runs", "--runs", str(runs), "--format", "csv"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert list(rows[0]) == COLUMNS
    record = record_of(runs, "a")
    own = {row["metric"]: row for row in rows if row["model"] == "a"}
    assert float(own["H"]["value"]) == record.metrics.H
    assert float(own["H_gamma_0"]["value"]) == record.uncalibrated.H != record.metrics.H
    assert (own["gamma"]["value"], own["train_seconds"]["value"]) == ("0.5", "2.0")
    assert "picked on validation" in own["H"]["protocol"]
    assert {(row["seed"], row["dataset"]) for row in rows if row["model"] == "b"} == {
        ("3", "birds")
    }
    assert "peak_memory_mb" not in own  # unknown in this record
    assert not [row for row in rows if "test" in row["metric"]]


def test_filters_and_named_runs_hold_here_too(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["runs", "--runs", str(runs), "--format", "csv", "--model", "b"]) == 0
    assert {row["model"] for row in rows_of(capsys.readouterr().out)} == {"b"}
    one = next((runs / "birds" / "a").iterdir())
    assert app.main(["runs", str(one), "--runs", str(runs), "--format", "csv"]) == 0
    assert {row["run"] for row in rows_of(capsys.readouterr().out)} == {str(one)}


def test_a_file_appears_whole(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ["runs", "--runs", str(runs), "--format", "csv"]
    assert app.main([*ours, "--out", str(tmp_path / "all.csv")]) == 0
    told = capsys.readouterr()
    assert told.out == "" and f"written: {tmp_path / 'all.csv'}" in told.err
    assert app.main(ours) == 0
    assert (tmp_path / "all.csv").read_text(encoding="utf-8") == capsys.readouterr().out
    assert app.main([*ours, "--out", str(tmp_path / "nowhere" / "all.csv")]) == 2


def test_parquet_holds_the_same_rows(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra pandas")
    ours = ["runs", "--runs", str(runs), "--format"]
    assert app.main([*ours, "parquet", "--out", str(tmp_path / "all.parquet")]) == 0
    capsys.readouterr()
    assert app.main([*ours, "csv"]) == 0
    wanted = rows_of(capsys.readouterr().out)
    found = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert [{name: str(value) for name, value in row.items()} for row in found] == wanted


def test_what_does_not_go_together_is_told(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ["runs", "--runs", str(runs), "--format"]
    for arguments, words in (
        (["parquet"], "needs --out FILE"),
        (["table", "--out", str(tmp_path / "x.csv")], "goes with --format csv or parquet"),
        (["csv", "--json"], "exclude each other"),
        (["csv", "--tag", "t"], "goes with neither"),
    ):
        assert app.main([*ours, *arguments]) == 2
        assert words in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert app.main([*ours, "parquet", "--out", str(tmp_path / "x.parquet")]) == 2
    assert "pip install 'zslkit[pandas]'" in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()


def test_the_former_out_still_names_the_folder(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["runs", "--out", str(runs)]) == 0
    told = capsys.readouterr()
    assert "birds" in told.out and "--out is called --runs now" in told.err
