"""Rows as selected on the test sets, in a separate section of the page: marked, never ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zslkit.page.badges import Badge, marks_of
from zslkit.page.board import TableLine
from zslkit.report.comparison import METRICS, Block, PickedOnTest
from zslkit.report.tables import ON_TEST_TITLE, on_test_grid, on_test_notes, signed, with_gamma

OPTIMISTIC = Badge(
    "no-result", "no result", "Picked on the test sets: not comparable with any row that was not."
)
"""Badge of every such row."""


@dataclass(frozen=True)
class OnTestFigure:
    """One cell.

    Attributes:
        text: Text as in compare.
        added: Difference to the row's own result, "" if unknown.
    """

    text: str
    added: str


@dataclass(frozen=True)
class Picked:
    """One such row.

    Attributes:
        row: The row.
        of: Anchor of the original row.
        badges: OPTIMISTIC, then badges that not all rows of the block share.
        figures: Cells.
    """

    row: PickedOnTest
    of: str
    badges: tuple[Badge, ...]
    figures: tuple[OnTestFigure, ...]


@dataclass(frozen=True)
class OnTest:
    """The section.

    Attributes:
        title: Title as in compare.
        notes: Notes as in compare.
        columns: Metrics.
        rows: Rows.
    """

    title: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Picked, ...]


def on_test(block: Block, lines: Sequence[TableLine], shared: Sequence[Badge]) -> OnTest | None:
    """Rows of a block as selected on test, in the order of its leaderboard.

    Args:
        block: The block.
        lines: Rows of the leaderboard.
        shared: Badges that all rows of the block share.

    Returns:
        The section, or None if there are no such rows.
    """
    content = on_test_grid(block)
    if content is None or block.on_test is None:
        return None
    keys = {line.row.folders: line.key for line in lines}
    order = list(keys.values())
    names = content.header[1:-1]
    rows = [
        _picked(row, keys[row.folders], block, shared, names, [cell.text for cell in cells[1:-1]])
        for row, cells in zip(block.on_test, content.rows, strict=True)
    ]
    # In the order of the leaderboard, so that these numbers rank nothing.
    rows.sort(key=lambda picked: order.index(picked.of))
    return OnTest(ON_TEST_TITLE, tuple(on_test_notes(block)), names, tuple(rows))


def _picked(
    row: PickedOnTest,
    of: str,
    block: Block,
    shared: Sequence[Badge],
    names: Sequence[str],
    texts: Sequence[str],
) -> Picked:
    marks = marks_of(row.made, block.setting)
    telling = [
        mark for mark in marks if mark not in shared or mark.kind in ("selection", "calibration")
    ]
    if row.gamma is not None:
        telling = [replace(mark, text=with_gamma(mark.text, row.gamma)) for mark in telling]
    figures = tuple(
        OnTestFigure(text, _added(row, name)) for name, text in zip(names, texts, strict=True)
    )
    return Picked(row, of, (OPTIMISTIC, *telling), figures)


def _added(row: PickedOnTest, name: str) -> str:
    if name not in METRICS or name not in row.added:
        return ""
    return signed(row.added[name], 3 if name == "AUSUC" else 1).replace("-", "\N{MINUS SIGN}")
