"""Comparison tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslkit.report.block import Block
from zslkit.report.columns import COST_NAMES, Layout
from zslkit.report.tables import (
    ON_TEST_TITLE,
    Cell,
    Grid,
    grid,
    on_test_grid,
    on_test_notes,
    plain,
    protocols,
    remarks,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text


def rich_table(blocks: Sequence[Block], layout: Layout | None = None) -> RenderableType:
    """All blocks for a rich console: first metrics, then costs and protocol.

    Two tables per block, because one would not fit into 80 columns; one table of the columns that
    were asked for.
    """
    from rich.console import Group
    from rich.text import Text

    layout = layout or Layout()
    parts: list[RenderableType] = []
    for block in blocks:
        # Text instead of markup, because names may contain brackets.
        parts.append(Text(plain(layout.title(block.title, len(blocks))), style="bold"))
        parts += [_rich_part(part.header, part.rows) for part in _parts(block, layout)]
        if (on_test := on_test_grid(block)) is not None:
            parts.append(Text(ON_TEST_TITLE, style="dim"))
            parts.append(_rich_part(on_test.header, on_test.rows, style="dim"))
            parts += [Text(plain(text), style="dim") for text in on_test_notes(block)]
        notes = layout.notes(block.title, len(blocks))
        if layout.columns is not None and "protocol" not in layout.columns:
            notes += protocols(block)
        notes += [*block.notes, *remarks(block)]
        parts += [Text(plain(note), style="dim") for note in notes]
        parts.append(Text(""))
    return Group(*parts)


def _parts(block: Block, layout: Layout) -> list[Grid]:
    if layout.columns is not None:
        return [grid(block, layout.columns)]
    content = grid(block)
    split = content.header.index(COST_NAMES[0])
    made = content.only(content.header[split:])
    chance = len(block.rows)  # has neither costs nor protocol
    return [
        content.only(content.header[1:split]),
        Grid(made.header, (*made.rows[:chance], *made.rows[chance + 1 :])),
    ]


def _rich_part(header: Sequence[str], rows: Sequence[Sequence[Cell]], style: str = "") -> Table:
    from rich import box
    from rich.table import Table

    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    table = Table(**look, style=style, header_style=style or "table.header")
    for name in header:
        words = name in ("model", "protocol")
        table.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
            min_width=8 if words else None,
        )
    for row in rows:
        table.add_row(*(_rich_cell(cell) for cell in row))
    return table


def _rich_cell(cell: Cell) -> Text:
    from rich.text import Text

    style = "bold" if cell.bold else "bright_black" if cell.grey else ""
    text = Text(plain(cell.text).replace(" ± ", "±"), style=style)
    return text.append(f"\n{cell.interval}", style="not bold") if cell.interval else text
