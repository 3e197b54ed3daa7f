"""Class-attribute table of the user's own data, read from a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.readers.csv_file import read_csv
from zslkit.readers.names import refuse_clash, same_look, shown, some


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
    """One row of the CSV file.

    Args:
        line: Number of the last line of the row.
        name: Class name.
        cells: Cells as written; they may be empty.
    """

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
    values = [_numbers(path, row, attributes) for row in rows]
    return ClassTable(
        tuple(row.name for row in rows), attributes, np.array(values, dtype=np.float32)
    )


def read_rows(path: Path, kind: str = "class") -> tuple[tuple[str, ...], list[TableRow]]:
    """Read attribute names and rows of the CSV file; cells may hold anything.

    Args:
        path: The file.
        kind: What a row stands for, for errors.

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
    refuse_doubles(path, "attribute", attributes)
    refuse_doubles(path, kind, [cells[0] for _, cells in lines])
    return tuple(attributes), [TableRow(line, cells[0], tuple(cells[1:])) for line, cells in lines]


def number_in(cell: str) -> float | None:
    """Parse the number in a cell.

    Returns:
        The number; None if the cell is not a number or float32 cannot hold it. "1_0", which Python
        reads as 10, is not a number.
    """
    if "_" in cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if abs(number) <= np.finfo(np.float32).max else None


def _numbers(path: Path, row: TableRow, attributes: Sequence[str]) -> list[float]:
    if len(row.cells) != len(attributes):
        raise DataError(
            f"{path}, line {row.line}: {row.name!r} has {len(row.cells)} values and the header "
            f"{len(attributes)} attributes; mend that line"
        )
    numbers = []
    for attribute, value in zip(attributes, row.cells, strict=True):
        number = number_in(value)
        if number is None:
            raise DataError(
                f"{path}, line {row.line}, column {attribute!r}: {value!r} is no finite number; "
                "write one"
            )
        numbers.append(number)
    return numbers


def refuse_counter(path: Path, names: Sequence[str], values: NDArray[np.float32]) -> None:
    """Refuse an attribute that counts the classes, such as an index saved with the table.

    Raises:
        DataError: Names the column.
    """
    count = np.arange(len(values))
    for name, column in zip(names, values.T, strict=True):
        if len(count) > 4 and (np.array_equal(column, count) or np.array_equal(column, count + 1)):
            raise DataError(
                f"{path}: the column {shown(name)} counts the classes ({column[0]:g}, "
                f"{column[1]:g}, {column[2]:g}, ...) and is no attribute; leave it out"
            )


def alike(classes: Sequence[str], values: NDArray[np.float32]) -> list[str]:
    """Warnings about classes that no model can tell apart by their attributes."""
    said = []
    if zero := [classes[k] for k in np.flatnonzero(~values.any(axis=1)).tolist()]:
        said.append(f"{len(zero)} classes have no attribute but zeros ({some(zero, 3)})")
    _, inverse, count = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    same = [k for k in range(len(classes)) if count[inverse.ravel()[k]] > 1 and values[k].any()]
    if same:
        said.append(
            f"{len(same)} classes have the attributes of another class "
            f"({some([classes[k] for k in same], 3)}), so that no model can tell them apart"
        )
    return said


def refuse_doubles(path: Path, kind: str, names: Sequence[str]) -> None:
    """Refuse names that are empty, stand twice or look the same; raises DataError."""
    known: set[str] = set()
    for name in names:
        if not same_look(name):
            raise DataError(f"{path}: {kind} {len(known) + 1} has no name; give it one")
        if name in known:
            raise DataError(f"{path}: the {kind} {shown(name)} stands twice; remove one")
        known.add(name)
    refuse_clash(path, "classes" if kind == "class" else f"{kind}s", names, same_look)
