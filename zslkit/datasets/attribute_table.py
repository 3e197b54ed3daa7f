"""Class-attribute table of the user's own data, read from a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.readers.csv_file import read_csv
from zslkit.readers.names import refuse_clash, same_look, shown


@dataclass(frozen=True)
class ClassTable:
    """A class-attribute table.

    Args:
        classes: C class names.
        attributes: A attribute names.
        values: (C, A) float32.
    """

    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class TableRow:
    """One row of the CSV file: its last line, the class name, and the cells as written."""

    line: int
    name: str
    cells: tuple[str, ...]


def read_class_table(path: Path) -> ClassTable:
    """Read a CSV file: a header of attribute names, then a row for each class, its name first.

    Raises:
        DataError: Names line and column of a cell that is empty or not a finite number, or the name
            that appears twice.
    """
    attributes, rows = read_rows(path)
    values = [numbers_in(path, row, attributes) for row in rows]
    return ClassTable(
        tuple(row.name for row in rows), attributes, np.array(values, dtype=np.float32)
    )


def read_rows(path: Path, kind: str = "class") -> tuple[tuple[str, ...], list[TableRow]]:
    """Attribute names and rows of the CSV file; cells may hold anything, a row stands for a `kind`.

    Raises:
        DataError: The file is not CSV, or an attribute or class has no name or appears twice.
    """
    rows = read_csv(path, f"a table of {kind} attributes")
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise DataError(
            f"{path}: a table of {kind} attributes has a header, a column of {kind} names and one "
            "for each attribute; this has not"
        )
    (_, (_, *attributes)), *lines = rows
    _refuse_doubles(path, "attribute", attributes)
    _refuse_doubles(path, kind, [cells[0] for _, cells in lines])
    return tuple(attributes), [TableRow(line, cells[0], tuple(cells[1:])) for line, cells in lines]


def number_in(cell: str) -> float | None:
    """Number in a cell; None if it is no number that float32 can hold.

    "1_0", which Python reads as 10, is no number.
    """
    if "_" in cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if abs(number) <= np.finfo(np.float32).max else None


def numbers_in(
    path: Path, row: TableRow, attributes: Sequence[str], empty: float | None = None
) -> list[float]:
    """Numbers of a row; `empty` stands for an empty cell, which is a fault by default.

    Raises:
        DataError: The row has more or fewer cells than attributes, or one that is no number.
    """
    if len(row.cells) != len(attributes):
        raise DataError(
            f"{path}, line {row.line}: {shown(row.name)} has {len(row.cells)} values and the "
            f"header {len(attributes)} attributes; mend that line"
        )
    numbers = []
    for attribute, cell in zip(attributes, row.cells, strict=True):
        number = number_in(cell) if cell else empty
        if number is None:
            leave = "" if empty is None else ", or leave the cell empty"
            raise DataError(
                f"{path}, line {row.line}, column {attribute!r}: {cell!r} is no finite number; "
                f"write one{leave}"
            )
        numbers.append(number)
    return numbers


def _refuse_doubles(path: Path, kind: str, names: Sequence[str]) -> None:
    known: set[str] = set()
    for name in names:
        if not same_look(name):
            raise DataError(f"{path}: {kind} {len(known) + 1} has no name; give it one")
        if name in known:
            raise DataError(f"{path}: the {kind} {shown(name)} stands twice; remove one")
        known.add(name)
    refuse_clash(path, "classes" if kind == "class" else f"{kind}s", names, same_look)
