"""Results on standard output: aligned columns for people, one JSON object for programs. Whatever
plugins print goes elsewhere."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from zslkit.errors import UserError
from zslkit.utils.printable import printable as printable

if TYPE_CHECKING:
    from rich.console import RenderableType

NARROWEST = 24
"""Characters below which the last column is not folded any more."""
PIECES = 1 << 16
"""Pieces of a JSON text, a number or a bracket each, that are written at a time."""


_results: TextIO | None = None


class ReaderGone(Exception):
    """Whoever read the results has closed the pipe, as `head` does: the end of a command."""


@contextmanager
def apart(descriptor: bool) -> Iterator[None]:
    """Within this part standard output is the results' alone: what is printed goes to standard
    error; with `descriptor`, for a process that ends with the command, also what native code and
    os.write send to file descriptor 1."""
    global _results
    before, own = _results, sys.stdout
    _results = _moved(own) if descriptor else own
    try:
        with redirect_stdout(sys.stderr):
            yield
        flush()
    except BaseException:
        with contextlib.suppress(Exception):  # what was told before stays told
            flush()
        raise
    finally:
        _results = before


def _moved(own: TextIO) -> TextIO:
    """A stream to where file descriptor 1 leads now, which leads to standard error afterwards."""
    own.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    if own is not sys.__stdout__:
        return own
    buffering = 1 if own.isatty() else -1
    return open(kept, "w", buffering, encoding=own.encoding, errors=own.errors)


@contextmanager
def lent_to_children() -> Iterator[None]:
    """Within this part file descriptor 1 leads to where the results go, for processes that print
    them in our place."""
    flush()
    before = os.dup(1)
    with contextlib.suppress(OSError):  # a stream that is no file, as in a test
        os.dup2(results().fileno(), 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def results() -> TextIO:
    """Where results go."""
    return sys.stdout if _results is None else _results


def echo(text: str = "", nl: bool = True) -> None:
    """A line of the results. Raises ReaderGone."""
    with reader_there():
        click.echo(text, file=results(), nl=nl)


def flush() -> None:
    """Raises ReaderGone."""
    with reader_there():
        results().flush()


@contextmanager
def reader_there() -> Iterator[None]:
    """Around whatever writes results. Raises ReaderGone where nobody reads them any more."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


def check_file(out: Path | None) -> None:
    """Raises UserError if --out cannot be a file."""
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise UserError(
            f"--out {out} is a folder or lies in none that exists; "
            "name a file in a folder that is there"
        )


def check_picture(out: Path, example: str) -> None:
    """Raises UserError if --out cannot be a PNG."""
    if out.suffix.lower() != ".png":
        raise UserError(
            f"--out {out} is no .png; the picture is written as PNG, so name a file like {example}"
        )
    if not out.parent.is_dir():
        raise UserError(
            f"--out {out} is in no folder that exists; make {out.parent} or name another place"
        )
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")


@contextmanager
def opened(out: Path | None) -> Iterator[TextIO]:
    """Where a text of results goes: standard output, or a file that appears when it is whole.

    Raises ReaderGone.
    """
    with reader_there():
        if out is None:
            yield results()
            return
        from zslkit.utils.files import replacing

        with replacing(out) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
            yield stream


def print_json(value: Any) -> None:
    """One JSON object and nothing else. Figures that are not finite become null, since JSON has no
    word for them."""
    # Piece by piece: the text of a table of classes times classes is many times as large as it.
    pieces = json.JSONEncoder(indent=2, allow_nan=False).iterencode(_finite(value))
    while text := "".join(islice(pieces, PIECES)):
        echo(text, nl=False)
    echo()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def print_table(table: RenderableType) -> None:
    """A table of rich; in a pipe it is as wide as it needs."""
    from rich.console import Console

    # At 80 columns, rich's guess for a pipe, figures would be cut off.
    with reader_there():
        Console(file=results(), width=None if results().isatty() else 500).print(table)


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without lines. On a terminal the last column is folded, in a pipe each row is one
    line."""
    for line in aligned(header, rows, _columns() if results().isatty() else None):
        echo(line)


def _columns() -> int:
    if "COLUMNS" not in os.environ:  # else the terminal of standard error would be asked
        with contextlib.suppress(OSError):
            return os.get_terminal_size(results().fileno()).columns
    return shutil.get_terminal_size().columns


def aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None
) -> list[str]:
    """The lines of a table whose last column is folded at `width` cells of the terminal (None:
    never)."""
    cells = [[printable(c) for c in row] for row in [header, *rows]]
    widths = [max(_cells(row[k]) for row in cells) for k in range(len(header) - 1)]
    indent = sum(widths) + 2 * len(widths)
    room = width - indent if width is not None else 0
    lines = []
    for row in cells:
        start = "".join(c + " " * (w + 2 - _cells(c)) for c, w in zip(row, widths, strict=False))
        most = room if _cells(row[-1]) == len(row[-1]) else room // 2  # a character's two cells
        folded = textwrap.wrap(row[-1], most) if room >= NARROWEST else [row[-1]]
        lines += [(start + "".join(folded[:1])).rstrip()]
        lines += [" " * indent + more for more in folded[1:]]
    return lines


def _cells(text: str) -> int:
    """Cells of the terminal that the text takes."""
    if text.isascii():  # rich takes its time to start
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


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
