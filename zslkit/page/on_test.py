"""Rows as selected on the test sets, in a separate section of the page: marked, never ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zslkit.page.board import TableLine, marks_of
from zslkit.report.badges import Badge
from zslkit.report.block import METRICS, Block, PickedOnTest
from zslkit.report.tables import ON_TEST_TITLE, on_test_grid, on_test_notes, signed, with_gamma

OPTIMISTIC = Badge(
    "no-result", "no result", "Picked on the test sets: not comparable with any row that was not."
)
"""Badge of every such row."""


@dataclass(frozen=True)
class OnTestFigure:
    """One cell as in compare, and by how much it is above the row's own result, "" if unknown."""

    text: str
    added: str


@dataclass(frozen=True)
class Picked:
    """One such row; of: anchor of the row that it is made of, badges: OPTIMISTIC, then those that
    not all rows of the block share."""

    row: PickedOnTest
    of: str
    badges: tuple[Badge, ...]
    figures: tuple[OnTestFigure, ...]


@dataclass(frozen=True)
class OnTest:
    """The section, with title and notes as in compare."""

    title: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Picked, ...]


def on_test(block: Block, lines: Sequence[TableLine], shared: Sequence[Badge]) -> OnTest | None:
    """Rows of a block as picked on test, if there are any; `shared` are the badges of all its
    rows."""
    content = on_test_grid(block)
    if content is None or block.on_test is None:
        return None
    keys = {line.row.folders: line.key for line in lines}
    order = list(keys.values())
    names = content.header[1:-1]
    rows = []
    for row, cells in zip(block.on_test, content.rows, strict=True):
        telling = [
            mark
            for mark in marks_of(row.made, block.setting)
            if mark not in shared or mark.kind in ("selection", "calibration")
        ]
        if row.gamma is not None:
            telling = [replace(mark, text=with_gamma(mark.text, row.gamma)) for mark in telling]
        figures = tuple(
            OnTestFigure(cell.text, _added(row, name))
            for name, cell in zip(names, cells[1:-1], strict=True)
        )
        rows.append(Picked(row, keys[row.folders], (OPTIMISTIC, *telling), figures))
    # In the order of the leaderboard, so that these numbers rank nothing.
    rows.sort(key=lambda picked: order.index(picked.of))
    return OnTest(ON_TEST_TITLE, tuple(on_test_notes(block)), names, tuple(rows))


def _added(row: PickedOnTest, name: str) -> str:
    if name not in METRICS or name not in row.added:
        return ""
    return signed(row.added[name], 3 if name == "AUSUC" else 1).replace("-", "\N{MINUS SIGN}")
