"""Tables of attributes of the user's own data in CSV files: a row for each class, or photo."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Index, Split
from zslkit.errors import DataError, did_you_mean
from zslkit.readers.csv_file import read_csv
from zslkit.readers.names import match, refuse_clash, same_look, shown, some


@dataclass(frozen=True)
class ClassTable:
    """A class-attribute table."""

    classes: tuple[str, ...]  # C class names
    attributes: tuple[str, ...]  # A attribute names
    values: NDArray[np.float32]  # (C, A) float32


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
    refuse_doubles(path, "attribute", attributes)
    refuse_doubles(path, kind, [cells[0] for _, cells in lines])
    for k, attribute in enumerate(attributes, 1):
        _refuse_thousands(path, attribute, [cells[k] for _, cells in lines if len(cells) > k])
    return tuple(attributes), [TableRow(line, cells[0], tuple(cells[1:])) for line, cells in lines]


def _refuse_thousands(path: Path, attribute: str, cells: Sequence[str]) -> None:
    """Refuse "1.000" beside whole numbers, which may be 1 or, with a point of thousands, 1000.

    Numbers with decimals all have them, or end in no zero.
    """
    points = [cell for cell in cells if "." in cell]
    if (
        any(cell.endswith("0") for cell in points)
        and any(cell.lstrip("+-").isdecimal() for cell in cells)
        and all(_THOUSANDS.fullmatch(cell) for cell in points)
    ):
        raise DataError(
            f"{path}, column {attribute!r}: {points[0]!r} stands beside whole numbers and may mean "
            f"{float(points[0]):g} or {points[0].replace('.', '')}; write it without the point, or "
            "without zeros at its end"
        )


_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_ID = re.compile(
    r"((class|species|category|label|row)[ _.-]*)?(id|idx|index|label|number|no\.?|nr\.?)"
    r"|.+[ _.-](id|key)|key|code|unnamed.*|#"
)
"""Names of columns, in small letters, that number the rows of a table."""
_CAMEL_ID = re.compile(r"\w*[a-z](ID|Id|Key)")
"""The same in mixed letters, such as taxonID."""
_SIDE = re.compile(
    r"((is|in|class)[ _.-]*)?((test[ _.-]*)?(un)?seen|split|set|train(val|ing)?|test(ing)?"
    r"|val(idation)?|novel|base|zero[ _.-]*shot|(un)?known)([ _.-]*class(es)?)?"
)
"""Names of columns, in small letters, that may say on which side of the split a class is."""


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


def refuse_counter(
    path: Path, names: Sequence[str], values: NDArray[np.float32], kind: str = "classes"
) -> None:
    """Refuse an attribute that counts the classes, such as an index saved with the table.

    It counts up or down in steps of 1 from any number, or numbers the classes in any order. Where
    several columns do so, only one that counts up from 0 or 1 is refused. One that is called id, or
    the like, and holds another whole number for each class, is refused whatever its numbers are.
    `kind` says what the rows of `values` stand for: classes, or photos.

    Raises:
        DataError: Names the column.
    """
    if len(values) < 5:
        return
    count = np.arange(len(values))
    counting = [k for k, column in enumerate(values.T) if _counts(column, count)]
    for k in counting:
        column = values[:, k]
        if len(counting) == 1 or (
            column[0] in (0, 1) and np.array_equal(column - column[0], count)
        ):
            raise DataError(
                f"{path}: the column {shown(names[k])} counts the {kind} ({column[0]:g}, "
                f"{column[1]:g}, {column[2]:g}, ...) and is no attribute; leave it out (if it is a "
                f"rank, divide it by the number of {kind})"
            )
    for name, column in zip(names, values.T, strict=True):
        named = _ID.fullmatch(name.strip().lower()) or _CAMEL_ID.fullmatch(name.strip())
        if named and _numbers(column):
            raise DataError(
                f"{path}: the column {shown(name)} numbers the {kind} ({column[0]:g}, "
                f"{column[1]:g}, {column[2]:g}, ...) and is no attribute; leave it out, or give it "
                "the name of what it measures"
            )


def refuse_side(
    path: Path,
    names: Sequence[str],
    values: NDArray[np.float32],
    seen: NDArray[np.integer],
    unseen: NDArray[np.integer],
) -> None:
    """Refuse an attribute called seen, split or the like that tells which classes are unseen.

    Args:
        path: The table, for the message.
        names: The A attribute names.
        values: `(C, A)` attributes.
        seen: Class ids in trainval.
        unseen: Class ids in test_unseen.

    Raises:
        DataError: Names the column.
    """
    for name, column in zip(names, values.T, strict=True):
        one, other = set(column[seen].tolist()), set(column[unseen].tolist())
        told = len(one) == len(other) == 1 and one != other
        if told and _SIDE.fullmatch(name.strip().lower()):
            raise DataError(
                f"{path}: the column {shown(name)} tells which classes are unseen and is no "
                "attribute; leave it out"
            )


def _counts(column: NDArray[np.float32], count: NDArray[np.integer]) -> bool:
    """Whether an attribute `(C,)` counts the classes; `count` is 0 to C - 1."""
    if (column % 1 != 0).any():
        return False
    if np.unique(np.diff(column)).tolist() in ([1], [-1]):
        return True
    first = column.min()
    return bool(first in (0, 1) and np.array_equal(np.sort(column), count + first))


def _numbers(column: NDArray[np.float32]) -> bool:
    """Whether an attribute `(C,)` holds another whole number for each class."""
    return not (column % 1 != 0).any() and len(np.unique(column)) == len(column)


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


@dataclass(frozen=True)
class ImageAttributes:
    """Attributes of photos."""

    names: tuple[str, ...]  # A attribute names
    values: NDArray[np.float32]  # (N, A) float32; NaN where nothing is known of a photo


def read_image_attributes(file: Path, photos: Sequence[str]) -> ImageAttributes:
    """Read a CSV: the path of a photo in each row, then its attributes; an empty cell is unknown.

    Args:
        photos: N paths of the photos of the dataset.

    Raises:
        DataError: A row is of no photo, or a cell holds no number.
    """
    names, rows = read_rows(file, "photo")
    values = np.full((len(photos), len(names)), np.nan, dtype=np.float32)
    number = {photo: k for k, photo in enumerate(photos)}
    # As in a list of images: ./ counts for nothing, and \\ parts folders unless a photo has it.
    paths = {row.name: PurePosixPath(row.name).as_posix() for row in rows}
    plain = {
        name: path if path in number else PureWindowsPath(name).as_posix()
        for name, path in paths.items()
    }
    spelled = match((name for name in plain.values() if name not in number), photos)
    joined = {name: name if name in number else spelled.get(name) for name in plain.values()}
    unknown = [row for row in rows if joined[plain[row.name]] is None]
    if unknown:
        raise DataError(
            f"{file}: {len(unknown)} of {len(rows)} rows are of no photo of the dataset "
            f"({some([row.name for row in unknown], 3)}, line {unknown[0].line})"
            f"{did_you_mean(unknown[0].name, photos[:10_000])}"
        )
    at: dict[int, int] = {}
    for row in rows:
        place = number[str(joined[plain[row.name]])]
        if (line := at.setdefault(place, row.line)) != row.line:
            raise DataError(
                f"{file}: lines {line} and {row.line} are of one photo, {shown(photos[place])}; "
                "leave one"
            )
        values[place] = numbers_in(file, row, names, empty=np.nan)
    return ImageAttributes(names, values)


def class_means(
    file: Path, found: ImageAttributes, labels: Index, split: Split, classes: Sequence[str]
) -> NDArray[np.float32]:
    """Attributes of C classes, (C, A): means over the photos of trainval for a seen class, else
    all.

    Raises:
        DataError: Nothing is known of an attribute of a class.
    """
    means = np.empty((len(classes), len(found.names)), dtype=np.float32)
    trained = np.zeros(len(labels), dtype=bool)
    trained[split.trainval] = True
    for k, name in enumerate(classes):
        own = labels == k
        rows = found.values[own & trained] if (own & trained).any() else found.values[own]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is told below
            means[k] = np.nanmean(rows.astype(np.float64), axis=0) if len(rows) else np.nan
        if (empty := np.isnan(means[k])).any():
            lost = found.names[int(np.flatnonzero(empty)[0])]
            raise DataError(
                f"{file}: nothing is known of {int(empty.sum())} attributes of the class "
                f"{shown(name)} ({lost}, ...) in the photos that its mean is made of; fill in a "
                "cell, or give the class attributes with the key attributes"
            )
    return means
