"""What was picked on test is shown when asked for, marked in every format, and stands in no ranking
and no test."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from run_folders import make_run, random_scores

from zslkit.evaluation.gzsl import evaluate, peak
from zslkit.evaluation.sets import checked_sets
from zslkit.report import as_data, export, tables, terminal
from zslkit.report.as_papers_do import with_rows_picked_on_test
from zslkit.report.block import Block
from zslkit.report.comparison import compare
from zslkit.report.rows import key_of
from zslkit.report.significance import with_significance
from zslkit.runs.folders import SCORES, load_run

PICKED = {
    "best_epoch": 3,
    "every": 1,
    "T1": 91.5,
    "U": 81.5,
    "S": 82.5,
    "H": 82.0,
}


def block_of(folders: list[Path], asked: bool = True) -> Block:
    runs = [load_run(folder) for folder in folders]
    (block,) = with_significance(
        compare(
            [run.record for run in runs],
            folders={key_of(run.record): str(run.folder) for run in runs},
        )
    )
    return with_rows_picked_on_test([block])[0] if asked else block


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    watched = [
        make_run(tmp_path, "alpha", random_scores(1.0, seed), seed, optimistic=PICKED)
        for seed in (0, 1)
    ]
    return [*watched, make_run(tmp_path, "beta", random_scores(2.0, 5))]


def test_an_oracle_s_row_is_that_of_the_best_gamma_of_each_run(folders: list[Path]) -> None:
    block = block_of(folders)
    assert block.on_test is not None
    (row,) = [
        row for row in block.on_test if row.label == "alpha" and row.made.calibration == "oracle"
    ]
    scores = [random_scores(1.0, seed).sets() for seed in (0, 1)]
    gammas = [peak(checked_sets(*s).curve()) for s in scores]
    assert row.metrics["H"] is not None and row.metrics["H"].mean == pytest.approx(
        sum(h for _, h in gammas) / 2
    )
    measured = [evaluate(*s, g) for s, (g, _) in zip(scores, gammas, strict=True)]
    for name in ("T1", "U", "S", "AUSUC"):
        assert row.metrics[name].mean == pytest.approx(sum(m.figures()[name] for m in measured) / 2)  # type: ignore[union-attr]
    assert row.gamma is not None and row.gamma.mean == pytest.approx(sum(g for g, _ in gammas) / 2)
    assert row.folders == tuple(map(str, folders[:2]))


def test_a_row_by_epoch_is_what_the_watch_kept_and_those_without_are_named(
    folders: list[Path],
) -> None:
    block = block_of(folders)
    (row,) = [row for row in block.on_test or () if row.made.selection == "test (as papers do)"]
    assert row.label == "alpha"
    assert {name: stat and stat.mean for name, stat in row.metrics.items()} == {
        "T1": 91.5,
        "U": 81.5,
        "S": 82.5,
        "H": 82.0,
        "AUSUC": None,
    }
    assert any("No row with an epoch picked on test of beta" in note for note in block.notes)


def test_what_picking_added_is_the_distance_to_the_row_s_own_mean_and_is_told_in_a_sentence(
    folders: list[Path],
) -> None:
    block = block_of(folders)
    own = {row.label: row.metrics for row in block.rows}
    picked = block.on_test or ()
    for row in picked:
        known = {name: stat.mean for name, stat in row.metrics.items() if stat is not None}
        assert row.added == {
            name: pytest.approx(mean - own[row.label][name].mean) for name, mean in known.items()
        }
    by_gamma = {row.label: row.added["H"] for row in picked if row.made.calibration == "oracle"}
    assert (
        min(by_gamma.values()) > 0
    )  # the oracle is above gamma 0, with which these runs were made
    (epoch,) = [row for row in picked if row.made.calibration != "oracle"]
    assert tables.on_test_notes(block)[1] == (
        "Picking on the test sets added to each row's own figures: alpha by epoch T1 "
        f"{epoch.added['T1']:+.1f}, "
        f"H {epoch.added['H']:+.1f}; alpha by gamma H {by_gamma['alpha']:+.1f}; beta by gamma H "
        f"{by_gamma['beta']:+.1f}."
    )


def test_what_an_epoch_added_to_a_calibrated_row_is_taken_without_its_calibration(
    tmp_path: Path,
) -> None:
    folder = make_run(
        tmp_path,
        "alpha",
        random_scores(1.0),
        optimistic=PICKED,
        protocol={"calibration": "validation", "gamma": 0.5},
    )
    block = block_of([folder])
    (epoch,) = [row for row in block.on_test or () if row.made.calibration != "oracle"]
    plain = load_run(folder).record.uncalibrated.H
    assert epoch.added == {
        "T1": pytest.approx(91.5 - block.rows[0].metrics["T1"].mean),
        "H": pytest.approx(82.0 - plain),
    }
    assert "alpha by epoch, at gamma 0, T1" in tables.on_test_notes(block)[1]


def test_a_difference_keeps_its_sign_and_nothing_has_no_minus() -> None:
    assert [tables.signed(points) for points in (1.26, -1.26, -0.04, 0.0)] == [
        "+1.3",
        "-1.3",
        "+0.0",
        "+0.0",
    ]


def test_results_are_the_same_whether_it_is_asked_for_or_not(folders: list[Path]) -> None:
    asked, plain = block_of(folders), block_of(folders, asked=False)
    assert any("alpha: picking on the test sets" in note for note in plain.notes) and not any(
        "alpha: p" in note for note in asked.notes
    )
    assert (asked.rows, asked.sampling, asked.chance, tables.grid(asked)) == (
        plain.rows,
        plain.sampling,
        plain.chance,
        tables.grid(plain),
    )
    assert plain.on_test is None
    assert "as papers do" not in tables.markdown([plain]) + export.latex([plain]) + export.as_csv(
        [plain]
    )


def test_scores_that_are_gone_or_no_longer_those_of_the_record_cost_the_row_and_a_note(
    folders: list[Path],
) -> None:
    block = block_of(folders, asked=False)
    (folders[1] / SCORES).unlink()
    with (folders[2] / SCORES).open("wb") as file:
        random_scores(0.0, 7).write(file)
    (block,) = with_rows_picked_on_test([block])
    assert [row.made.selection for row in block.on_test or ()] == ["test (as papers do)"]
    told = [note for note in block.notes if "oracle" in note]
    assert len(told) == 2
    assert str(folders[1]) in told[0] and "is missing" in told[0]
    assert str(folders[2]) in told[1] and "its record says" in told[1]


def test_nothing_picked_on_test_is_bold_or_bounded_in_any_format(folders: list[Path]) -> None:
    block = block_of(folders)
    content = tables.on_test_grid(block)
    assert content is not None and len(content.rows) == 3
    assert all(
        cell.grey and not cell.bold and not cell.interval for row in content.rows for cell in row
    )
    for cells in content.rows:
        assert ("epoch: test (as papers do)" in cells[-1].text) != (
            "gamma: oracle" in cells[-1].text
        )

    markdown = tables.markdown([block]).partition(f"#### {tables.ON_TEST_TITLE}")
    assert "81.5" not in markdown[0] and "*82.0 ± 0.0*" in markdown[2] and "**" not in markdown[2]

    own, other = export.latex([block]).split("\\end{table}")[:2]
    assert "82.0" not in own and "82.0" in other and "no results" in other
    assert "textbf" in own and "textbf" not in other
    assert all("Picking on the test sets added" in text for text in (markdown[2], other))
    assert other.count("\\begin{table}") == 1

    lines = list(csv.DictReader(io.StringIO(export.as_csv([block]))))
    picked = [line for line in lines if line["kind"] == "as papers do, no result"]
    assert [(line["selection"], line["calibration"]) for line in picked].count(
        ("test (as papers do)", "none")
    ) == 1
    assert [line["calibration"] for line in picked].count("oracle") == 2
    assert not any(line["best"] or line["H_low"] for line in picked)
    assert {
        (line["selection"], line["calibration"]) for line in lines if line["kind"] == "runs"
    } == {("last", "none")}

    (data,) = as_data.as_json([block])
    assert data == json.loads(json.dumps(data))
    assert {row["model"] for row in data["rows"]} == {"alpha", "beta"} and len(data["rows"]) == 2
    assert [row["badges"]["calibration"] for row in data["as_papers_do"]["rows"]] == [
        "none",
        "oracle",
        "oracle",
    ]
    assert set(data["as_papers_do"]["rows"][0]["added"]) == {"T1", "U", "S", "H"}
    assert {pair["models"][0] for pair in data["sampling"]["pairs"]} == {"alpha"} and len(
        data["sampling"]["pairs"]
    ) == 1


def test_a_terminal_shows_it_dimmed_below_the_results(folders: list[Path]) -> None:
    console = Console(
        width=100, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(terminal.rich_table([block_of(folders)]))
    styled = console.export_text(styles=True)
    results, picked = styled.split(tables.ON_TEST_TITLE)
    assert "\x1b[1m" in results and "82.0" not in results
    (line,) = [line for line in picked.splitlines() if "82.0" in line]
    assert "\x1b[90m82.0" in line
    assert "\x1b[1m" not in picked


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_the_command_line_shows_it_in_every_format_and_only_when_asked(
    folders: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    from zslkit.cli import app
    from zslkit.cli import compare as command

    monkeypatch.setattr(
        command, "_finished_runs", lambda *_: ([load_run(folder) for folder in folders], [])
    )
    for asked in (True, False):
        arguments = [
            "compare",
            "eszsl",
            "--dataset",
            "digits",
            "--no-run",
            "--format",
            form,
            *(["--as-papers-do"] if asked else []),
        ]
        assert app.main(arguments) == 0
        out = capsys.readouterr().out
        assert ("oracle" in out) == asked
        assert ("test (as papers do)" in out.replace("\n", " ")) == asked


@pytest.mark.slow
def test_a_run_is_watched_after_every_epoch_only_when_asked_and_comparing_repeats_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from zslkit.cli import app
    from zslkit.runs.folders import find_runs

    given = ["--dataset", "digits", "--out", str(tmp_path), "--set", "train.epochs=3"]
    assert app.main(["run", "--model", "sje", *given]) == 0
    assert app.main(["compare", "sje", "devise", "--as-papers-do", *given]) == 0
    runs = {run.record.model.name: run.record for run in find_runs(tmp_path, print)}
    assert len(runs) == len(find_runs(tmp_path, print)) == 2
    assert runs["sje"].config["protocol"]["watch_test"] == 5
    assert "best_epoch" not in (runs["sje"].optimistic or {})
    assert (runs["devise"].optimistic or {})["every"] == 1
    out = capsys.readouterr().out.replace("\n", " ")
    assert "test (as papers do)" in out
    assert app.main(["run", "--model", "sje", "--as-papers-do", *given]) == 0
    assert len(find_runs(tmp_path, print)) == 3
