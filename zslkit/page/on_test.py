"""What a block's rows would be if picked on the test sets, as the page shows it: marked, apart, in no order of its own, and no result."""

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
"""The mark of every such row."""


@dataclass(frozen=True)
class OnTestFigure:
    """text: as compare prints it; added: by how much it stands above the row's own, "" where nobody knows."""

    text: str
    added: str


@dataclass(frozen=True)
class Picked:
    """One such row. of: the anchor of the row that it was made of; badges: OPTIMISTIC, then those that its block does not say of all."""

    row: PickedOnTest
    of: str
    badges: tuple[Badge, ...]
    figures: tuple[OnTestFigure, ...]


@dataclass(frozen=True)
class OnTest:
    """title and said: as compare has them. columns: of the figures."""

    title: str
    said: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Picked, ...]


def on_test(block: Block, lines: Sequence[TableLine], shared: Sequence[Badge]) -> OnTest | None:
    """What was picked on test of a block whose rows stand as `lines`, in their order; None where nobody asked or nothing can be told.

    shared: marks that the page says once for all rows of the block.
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
    rows.sort(
        key=lambda picked: order.index(picked.of)
    )  # a better figure here must move nothing up
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
