"""What was picked on test is on the page only when asked for: in a box of its own, marked, and in
no order by its figures."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_folders import make_run, random_scores
from shelf_of_runs import small_shelf

from zslkit.page.board import board
from zslkit.page.gather import Gathered, gather
from zslkit.page.on_test import OPTIMISTIC, OnTest, on_test
from zslkit.page.write import DATA, INDEX, write
from zslkit.report.as_data import as_json
from zslkit.report.block import Block
from zslkit.report.blocks import blocks_of
from zslkit.report.tables import ON_TEST_NOTE, on_test_grid


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    return gather([], small_shelf(tmp_path_factory.mktemp("runs")))


def birds(found: Gathered, asked: bool = True) -> Block:
    return next(block for block in blocks_of(found.runs, asked) if block.setting.dataset == "birds")


def shown(block: Block) -> OnTest | None:
    drawn = board(block, 0)
    return on_test(block, drawn.lines, drawn.shared)


def test_it_is_there_only_when_asked_for_and_changes_no_result(found: Gathered) -> None:
    asked, plain = birds(found), birds(found, asked=False)
    assert shown(plain) is None and plain.on_test is None
    assert board(asked, 0) == board(plain, 0)


def test_every_figure_is_that_of_the_comparison_and_says_what_was_added(found: Gathered) -> None:
    block = birds(found)
    picked, content = shown(block), on_test_grid(block)
    assert picked is not None and content is not None and block.on_test is not None
    assert picked.columns == content.header[1:-1] == ("runs", "T1", "U", "S", "H", "AUSUC")
    cells = {
        row.made: [cell.text for cell in cells[1:-1]]
        for row, cells in zip(block.on_test, content.rows, strict=True)
    }
    own = {row.folders: row.metrics for row in block.rows}
    for line in picked.rows:
        assert [figure.text for figure in line.figures] == cells[line.row.made]
        for name, figure in zip(picked.columns, line.figures, strict=True):
            stat = line.row.metrics.get(name)
            if stat is None:
                assert figure.added == ""
                continue
            difference = float(figure.added.replace("\N{MINUS SIGN}", "-"))
            assert difference == pytest.approx(
                stat.mean - own[line.row.folders][name].mean, abs=0.051
            )
    assert picked.notes[0] == ON_TEST_NOTE and "alpha by epoch T1 +" in picked.notes[1]


def test_each_row_is_marked_as_no_result_with_what_was_picked(found: Gathered) -> None:
    picked = shown(birds(found))
    assert picked is not None
    marks = [[mark.text for mark in line.badges] for line in picked.rows]
    assert all(texts[0] == OPTIMISTIC.text == "no result" for texts in marks)
    assert sum("epoch: test (as papers do)" in texts for texts in marks) == 1
    assert (
        sum(any(text.startswith("gamma: oracle (") for text in texts) for texts in marks)
        == len(marks) - 1
    )
    lines = {line.key: line.row.label for line in board(birds(found), 0).lines}
    assert all(lines[line.of] == line.row.label for line in picked.rows)


def test_rows_stand_in_the_order_of_the_results_and_not_by_their_own_figures(
    tmp_path: Path,
) -> None:
    picked = {"every": 1, "best_epoch": 2, "T1": 99.0, "U": 99.0, "S": 99.0, "H": 99.0}
    make_run(tmp_path, "alpha", random_scores(0.2, 1), optimistic=picked)
    make_run(tmp_path, "beta", random_scores(2.0, 2))
    (block,) = blocks_of(gather([], tmp_path).runs, True)
    found = shown(block)
    assert found is not None
    assert [line.row.label for line in found.rows] == ["beta", "alpha", "alpha"]
    assert found.rows[1].row.metrics["H"].mean == 99.0  # type: ignore[union-attr]


def test_a_row_that_cannot_be_told_is_named_and_a_block_without_any_has_no_box(
    found: Gathered, tmp_path: Path
) -> None:
    assert any("gamma has no row with an oracle's gamma" in note for note in birds(found).notes)
    bare = make_run(tmp_path / "runs", "alpha", random_scores(1.0))
    (bare / "scores.npz").unlink()
    text = write(
        gather([], tmp_path / "runs"), tmp_path / "page", as_papers_do=True
    ).index.read_text(encoding="utf-8")
    assert 'class="on-test"' not in text
    assert (
        "alpha has no row with an oracle" in text
        and "No row with an epoch picked on test of alpha" in text
    )


class Tables(HTMLParser):
    """text: of each table by its class, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, list[str]]] = []
        self._inside = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._inside += 1
            self.found.append((dict(attrs).get("class") or "", []))

    def handle_endtag(self, tag: str) -> None:
        self._inside -= tag == "table"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1][1].append(data)


def test_on_the_page_it_is_in_no_leaderboard_and_in_the_data_outside_the_rows(
    found: Gathered, tmp_path: Path
) -> None:
    write(found, tmp_path / "page", as_papers_do=True)
    text = (tmp_path / "page" / INDEX).read_text(encoding="utf-8")
    tables = Tables(text).found
    assert not any(
        "99.0" in " ".join(inside) or "oracle" in " ".join(inside)
        for name, inside in tables
        if name == "board"
    )
    assert sum("99.0" in " ".join(inside) for name, inside in tables if name == "picked") == 1
    assert text.count('class="on-test"') == 2  # birds and fish
    data = json.loads((tmp_path / "page" / DATA).read_text(encoding="utf-8"))
    assert data["blocks"] == json.loads(json.dumps(as_json(blocks_of(found.runs, True))))
    assert all(
        {"H", "T1"} <= set(row["added"])
        for block in data["blocks"]
        for row in block["as_papers_do"]["rows"]
    )
