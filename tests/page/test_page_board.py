"""The page's figures are those of `zslkit compare`, and what was not run or was picked on test is
never ranked."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import stdev

import pytest
from shelf_of_runs import small_shelf

from zslkit.errors import UnknownName, UserError
from zslkit.page import charts
from zslkit.page.board import Board, board
from zslkit.page.charts import curves, pairings, per_class, scatter
from zslkit.page.details import details
from zslkit.page.gather import Gathered, gather
from zslkit.page.scale import Scale
from zslkit.report.block import Block
from zslkit.report.blocks import blocks_of
from zslkit.report.tables import grid


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    return gather([], small_shelf(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def birds(found: Gathered) -> Block:
    return next(block for block in blocks_of(found.runs) if block.setting.dataset == "birds")


@pytest.fixture(scope="module")
def drawn(birds: Block) -> Board:
    return board(birds, 0)


def test_every_cell_is_the_cell_of_the_comparison(birds: Block, drawn: Board) -> None:
    content = grid(birds)
    assert [column.name for column in drawn.columns] == list(content.header[1:-1])
    for line in drawn.lines:
        cells = content.rows[birds.rows.index(line.row)][1:-1]
        shown = [
            (f"{f.mean} ± {f.spread}" if f.spread else f.mean, f.interval, f.best)
            for f in line.cells
        ]
        assert shown == [(cell.text, cell.interval, cell.bold) for cell in cells]


def test_columns_sort_by_numbers_that_are_not_rounded(drawn: Board) -> None:
    at = {column.name: i for i, column in enumerate(drawn.columns)}
    for line in drawn.lines:
        assert float(line.cells[at["H"]].value) == line.row.metrics["H"].mean
        assert float(line.cells[at["training"]].value) == line.row.costs["train_seconds"].mean  # type: ignore[union-attr]
    memory = [line.cells[at["peak memory"]].value for line in drawn.lines]
    assert sorted(memory) == ["", "", "10.0"]


def test_rows_stand_by_h_and_guests_apart_from_them(birds: Block, drawn: Board) -> None:
    order = [line.row.metrics["H"].mean for line in drawn.lines]
    assert order == sorted(order, reverse=True)
    assert [guest.name for guest in drawn.guests] == [
        "chance",
        *(entry.method for entry in birds.published),
    ]
    assert birds.published


def test_an_unconfirmed_figure_is_marked_and_loses_its_question_mark_only_in_its_text(
    drawn: Board,
) -> None:
    at = {column.name: i for i, column in enumerate(drawn.columns)}
    guests = [guest for guest in drawn.guests if guest.published]
    doubted = [
        (guest, name)
        for guest in guests
        for name in ("T1", "U", "S", "H")
        if name in guest.published.unconfirmed
    ]  # type: ignore[union-attr]
    assert doubted
    for guest, name in doubted:
        figure = guest.cells[at[name]]
        assert (
            figure.doubted == (guest.published.figures()[name] is not None)
            and "?" not in figure.mean
        )  # type: ignore[union-attr]


def test_what_is_picked_on_test_stands_in_details_alone(
    found: Gathered, birds: Block, drawn: Board
) -> None:
    line = next(line for line in drawn.lines if line.row.model == "alpha")
    runs = {str(run.folder): run for run in found.runs}
    said = dict(details(line, runs).optimistic)
    assert said["H, epoch picked on test"] == "99.0 ± 0.0"
    by_gamma = [(r.record.optimistic or {}).get("H_gamma_on_test") for r in runs.values()]
    h = [h for h in by_gamma if h is not None][:2]
    assert said["H, gamma picked on test"] == f"{sum(h) / 2:.1f} ± {stdev(h):.1f}"
    assert not any(
        cell.mean.startswith("9") and float(cell.value) == 99
        for line in drawn.lines
        for cell in line.cells
    )


def test_marks_that_all_rows_share_are_said_once_and_every_row_knows_all_of_its_own(
    drawn: Board,
) -> None:
    assert "inductive" not in {mark.text for mark in drawn.shared}
    for line in drawn.lines:
        assert {*drawn.shared, *line.badges} == set(line.all_badges)
        kinds = {mark.kind for mark in line.all_badges}
        assert {
            "protocol",
            "selection",
            "calibration",
            "backbone",
            "trained",
            "resolution",
            "input",
        } <= kinds
    assert {line.row.model: line.protocol for line in drawn.lines} == {
        "alpha": "inductive",
        "beta": "class-inductive",
        "gamma": "inductive",
    }


def test_whiskers_lie_on_the_scale_in_their_order_and_a_row_without_scores_has_none(
    drawn: Board,
) -> None:
    for line in drawn.lines:
        if line.row.model == "gamma":
            assert line.whisker is None
        else:
            assert line.whisker is not None
            low, mean, high = line.whisker
            assert 0 <= low <= mean <= high <= 100


def test_a_pair_reads_the_same_from_both_sides_and_as_the_comparison_says(
    birds: Block, drawn: Board
) -> None:
    found = pairings(birds, drawn)
    keys = {line.row.model: line.key for line in drawn.lines}
    there, back = found[keys["alpha"], keys["beta"]], found[keys["beta"], keys["alpha"]]
    assert birds.sampling is not None
    (pair,) = birds.sampling.pairs
    assert [there.text, back.text] == [
        f"{points:+.1f}".replace("-", "\N{MINUS SIGN}")
        for points in (pair.difference, -pair.difference)
    ]
    assert (there.sign, back.sign) == (("above", "below") if pair.significant else ("", ""))
    assert there.explanation == back.explanation and there.explanation in " ".join(birds.notes)


def test_a_curve_goes_from_all_seen_to_all_unseen_and_holds_the_result(
    found: Gathered, drawn: Board
) -> None:
    chart = curves(drawn, {str(run.folder): run for run in found.runs})
    assert chart is not None
    assert {trace.line.row.model for trace in chart.traces} == {
        "alpha",
        "beta",
    }  # gamma has no scores
    for trace in chart.traces:
        assert len(trace.paths) == trace.line.row.n
        first = [tuple(map(float, point.split(","))) for point in trace.paths[0].split()]
        assert first[0][0] == chart.x.at(0) and first[-1][1] == chart.y.at(0)
        assert max(x for x, _ in first) <= chart.x.end and min(y for _, y in first) >= chart.y.end
        if trace.line.row.n == 1:
            x, y = trace.at
            steps = pairwise(first)
            assert any(a[0] - 1 <= x <= b[0] + 1 and b[1] + 1 >= y >= a[1] - 1 for a, b in steps)


@pytest.mark.parametrize("u", [20.0, 50.0, 100.0])
@pytest.mark.parametrize("s", [20.0, 60.0, 100.0])
def test_labels_of_equal_h_do_not_lie_over_each_other(u: float, s: float) -> None:
    lines = charts._lines_of_h(Scale(0, u, *charts.ACROSS), Scale(0, s, *charts.UP))
    assert [h for h, _, _ in lines] == [h for h in range(10, 100, 10) if h < min(u, s)]
    places = [at for _, _, at in lines]
    for k, (x, y) in enumerate(places):
        assert charts.LEFT <= x <= charts.WIDTH - 28 and y >= charts.TOP - 0.1
        for other in places[:k]:
            assert abs(x - other[0]) >= 28 or abs(y - other[1]) >= 11


def test_lines_of_equal_h_are_lines_of_equal_h(found: Gathered, drawn: Board) -> None:
    chart = curves(drawn, {str(run.folder): run for run in found.runs})
    assert chart is not None and chart.equal
    per_x = (chart.x.high - chart.x.low) / (chart.x.end - chart.x.start)
    per_y = (chart.y.high - chart.y.low) / (chart.y.end - chart.y.start)
    for h, points, _ in chart.equal:
        for x, y in (map(float, point.split(",")) for point in points.split()):
            assert (
                chart.x.start <= x <= chart.x.end + 0.1 and chart.y.end - 0.1 <= y <= chart.y.start
            )
            u, s = (x - chart.x.start) * per_x, (y - chart.y.start) * per_y
            assert 2 * u * s / (u + s) == pytest.approx(h, abs=0.3)


def test_per_class_accuracies_are_means_over_seeds_with_their_side(
    found: Gathered, drawn: Board
) -> None:
    runs = {str(run.folder): run for run in found.runs}
    data = per_class(drawn, runs)
    line = next(line for line in drawn.lines if line.row.model == "alpha")
    records = [runs[folder].record for folder in line.row.folders]
    mean = sum(r.per_class["class 0"] or 0 for r in records) / 2
    assert data["rows"][line.key][0] == pytest.approx(mean, abs=0.01)
    assert data["unseen"] == [False] * 4 + [True] * 2


def test_the_scatter_shows_every_row_with_a_time_inside_its_frame(drawn: Board) -> None:
    chart = scatter(drawn)
    assert chart is not None and len(chart.dots) == 3
    slowest = max(chart.dots, key=lambda dot: dot.x)
    assert slowest.line.row.model == "beta"
    assert all(
        chart.x.start <= dot.x <= chart.x.end and chart.y.end <= dot.y <= chart.y.start
        for dot in chart.dots
    )


def test_settings_say_where_they_are_from_and_which_runs_stand_behind_a_row(
    found: Gathered, drawn: Board
) -> None:
    line = next(line for line in drawn.lines if line.row.model == "alpha")
    about = details(line, {str(run.folder): run for run in found.runs})
    assert ("lr", "0.1", "default") in about.settings
    assert [seed.run.record.seed for seed in about.seeds] == [0, 1]
    assert [str(seed.run.folder) for seed in about.seeds] == list(line.row.folders)
    assert dict(about.facts)["split"] == "5011" * 4


def test_nothing_is_left_out_in_silence(tmp_path: Path) -> None:
    out = small_shelf(tmp_path / "runs")
    cut = next((out / "birds" / "beta").glob("seed*"))
    (cut / "record.json").write_text("{", encoding="utf-8")
    half = out / "birds" / "delta" / "seed0-0123456789ab.partial"
    half.mkdir(parents=True)
    found = gather([], out)
    assert len(found.runs) == 4 and len(found.left_out) == 2
    assert any(str(cut) in sentence and "cut off" in sentence for sentence in found.left_out)
    assert any(str(half) in sentence and "half-written" in sentence for sentence in found.left_out)


def test_a_copy_of_a_run_counts_once_and_is_named(tmp_path: Path) -> None:
    first = small_shelf(tmp_path / "a") / "fish" / "alpha" / ("seed0-" + "f" * 12)
    second = small_shelf(tmp_path / "b") / "fish" / "alpha" / ("seed0-" + "f" * 12)
    found = gather([first, second], tmp_path)
    assert len(found.runs) == 1 and found.unread == 0
    assert "counts once" in found.left_out[0]


def test_no_run_and_an_unknown_dataset_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no finished run in .*none"):
        gather([], tmp_path / "none")
    with pytest.raises(UserError, match="There is no folder"):
        gather([], tmp_path / "nowhere")
    with pytest.raises(UnknownName, match='did you mean "birds"'):
        gather([], small_shelf(tmp_path / "runs"), ["bird"])
    with pytest.raises(UserError, match=r"in the folders that were named.*nowhere"):
        gather([tmp_path / "nowhere"], tmp_path)
