"""Results on standard output: aligned columns for people, one JSON object for programs."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from zslkit.printable import printable as printable

if TYPE_CHECKING:
    from rich.console import RenderableType

NARROWEST = 24
"""Characters below which the last column is not folded any more."""
PIECES = 1 << 16
"""Pieces of a JSON text, a number or a bracket each, that are written at a time."""


def print_json(value: Any) -> None:
    """One JSON object and nothing else. Figures that are not finite become null, since JSON has no word for them."""
    # Piece by piece: the text of a table of classes times classes is many times as large as the table.
    pieces = json.JSONEncoder(indent=2, allow_nan=False).iterencode(_finite(value))
    while text := "".join(islice(pieces, PIECES)):
        click.echo(text, nl=False)
    click.echo()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def print_table(table: RenderableType) -> None:
    """A table of rich; in a pipe it is as wide as it needs."""
    from rich.console import Console

    # At 80 columns, rich's guess for a pipe, figures would be cut off.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 500).print(table)


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without lines. On a terminal the last column is folded, in a pipe each row is one line."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in aligned(header, rows, width):
        click.echo(line)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """The lines of a table whose last column is folded at `width` characters (None: never)."""
    cells = [[printable(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header) - 1)]
    indent = sum(widths) + 2 * len(widths)
    room = width - indent if width is not None else 0
    lines = []
    for row in cells:
        start = "".join(c.ljust(w + 2) for c, w in zip(row, widths, strict=False))
        folded = textwrap.wrap(row[-1], room) if room >= NARROWEST else [row[-1]]
        lines += [(start + (folded[0] if folded else "")).rstrip()]
        lines += [" " * indent + more for more in folded[1:]]
    return lines


def shorten(text: str, length: int = 72) -> str:
    """The beginning of a text, cut at a word."""
    return textwrap.shorten(text, length, placeholder=" ...")


def size_words(count: float) -> str:
    """Bytes as people say them, in powers of ten: '812 B', '3.4 MB', '13 GB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
