"""Axes of arrays in a file: channels of features, converted to (n, D, H, W), and rows of tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zslkit.errors import DataError, UserError
from zslkit.readers.stream import Stream

Order = Literal["channels-first", "channels-last"]
ORDERS: tuple[Order, ...] = get_args(Order)

_WIDEST = 4
"""Highest ratio of the sides of a grid that is recognised without --layout."""


@dataclass(frozen=True)
class Layout:
    """Layout of the features in a file."""

    shape: tuple[int, ...]  # Shape of the features in the dataset, (N, D) or (N, D, H, W)
    order: Order | None = None  # Axis of the channels in the file; None for pooled features
    tokens: int = 0  # Class tokens before the positions, which are not part of the maps

    @property
    def key(self) -> str:
        """Layout as part of the cache key; "" if maps are stored as they are in the file."""
        usual = self.order in (None, "channels-first") and not self.tokens
        return "" if usual else f"{self.order}, {self.tokens} class tokens"

    def note(self, shape: Sequence[int]) -> str:
        """Description of how an array of this shape was read; "" if it is obvious."""
        if self.order is None or (len(shape) == 4 and self.order == "channels-first"):
            return ""
        dropped = "; the first position is a class token and is left out" if self.tokens else ""
        return (
            f"{self.order}: {' x '.join(map(str, shape[1:]))} was read as {self.shape[1]} channels "
            f"on a grid of {self.shape[2]} x {self.shape[3]}{dropped}"
        )

    def turn(self, values: Tensor) -> Tensor:
        """Convert a block (n, ...) of the file to (n, D) or contiguous (n, D, H, W)."""
        if self.order is None:
            return values
        if self.order == "channels-last":
            values = values.movedim(-1, 1)
        if values.dim() == 3:
            values = values[:, :, self.tokens :]
        return values.reshape(len(values), *self.shape[1:]).contiguous()


def find_layout(
    path: Path, stream: Stream, count: int, order: str | None, form: str = ""
) -> Layout:
    """Find the layout of the features of `count` labels.

    `order` is one of `ORDERS` according to the user, or None; `form` is FoundArrays.format.

    Raises:
        DataError: The shape does not fit the labels, or is ambiguous and `order` is None.
        UserError: `order` does not fit the shape.
    """
    shape = stream.shape
    _refuse_other_counts(path, shape, count, form)
    if len(shape) == 2:
        if order is not None:
            raise UserError(
                f"{path}: the features have the shape {shape} and no positions; leave --layout away"
            )
        return Layout(shape)
    readings = {o: found for o in ORDERS if (found := _reading(shape, o)) is not None}
    if order is not None:
        if order not in readings:
            axis = "the last axis" if order == "channels-first" else "the axis after the images"
            raise UserError(
                f"{path}: --layout {order} needs positions on {axis} that are a square, with or "
                f"without a class token, and the features have the shape {shape}"
            )
        return readings[order]
    if not readings:
        sizes = " nor ".join(str(n) for n in dict.fromkeys(shape[1:]))
        raise DataError(
            f"{path}: the features have the shape {shape}, and neither {sizes} positions are a "
            "square, with or without a class token; save them as (N, D, H, W)"
        )
    sure = _of_three(shape, readings) if len(shape) == 3 else _of_four(shape)
    if len(sure) == 1:
        return readings[sure[0]]
    options = " or ".join(f"--layout {o} ({_spelled(readings[o])})" for o in readings)
    save = "" if len(readings) == 2 else ", or save them as (N, D, H, W)"
    raise DataError(
        f"{path}: the features have the shape {shape}, and nothing shows which axis holds the "
        f"channels; say {options}{save}"
    )


def _refuse_other_counts(path: Path, shape: tuple[int, ...], count: int, form: str) -> None:
    if len(shape) not in (2, 3, 4):
        raise DataError(
            f"{path}: the features have the shape {shape}; they should be (N, D), (N, D, R), (N, "
            "R, D), (N, D, H, W) or (N, H, W, D)"
        )
    if shape[0] != count and count in shape[1:]:
        # For xlsa17, columns of the file are rows of the stream.
        seen, image = (shape[::-1], "column") if form == "xlsa17" else (shape, "row")
        turn = f"transposed, an image a {image}"
        if len(shape) != 2:
            turn = f"with the axis of the {count} images first"
        raise DataError(
            f"{path}: the features have the shape {seen} for {count} labels; save them {turn}"
        )
    if shape[0] != count:
        raise DataError(
            f"{path}: the features have the shape {shape} and there are {count} labels; are they "
            "of one dataset?"
        )
    if 0 in shape:
        raise DataError(
            f"{path}: the features have the shape {shape} and hold nothing; make the file again"
        )


def _grid(positions: int) -> tuple[int, int] | None:
    """Side and class tokens of a square grid of `positions`; None if there is no such grid."""
    for tokens in (0, 1):
        side = math.isqrt(positions - tokens)
        if side * side == positions - tokens and side > 1:
            return side, tokens
    return None


def _reading(shape: tuple[int, ...], order: Order) -> Layout | None:
    """Layout of an array of this shape in this order, None if impossible."""
    n, *rest = shape
    channels, places = (rest[0], rest[1:]) if order == "channels-first" else (rest[-1], rest[:-1])
    if len(places) == 2:
        return Layout((n, channels, *places), order)
    if places[0] == 1:
        return Layout((n, channels, 1, 1), order)
    grid = _grid(places[0])
    return None if grid is None else Layout((n, channels, grid[0], grid[0]), order, grid[1])


def _of_three(shape: tuple[int, ...], readings: Mapping[Order, Layout]) -> list[Order]:
    """Order of the axes of (N, a, b), if only one is possible.

    The positions must be the only axis that is a square, and the shorter one. A longer axis may be
    a grid of unequal sides, such as 7 x 12.
    """
    _, a, b = shape
    longer: Order = "channels-first" if a > b else "channels-last"
    return [longer] if a != b and list(readings) == [longer] else []


def _of_four(shape: tuple[int, ...]) -> list[Order]:
    """Order of the axes of (N, a, b, c), if only one is likely.

    Likely are square sides, or many more channels than rows and columns. An order is listed if its
    own reading is strong and the other is not even weak; two or no orders mean an ambiguous shape.
    """
    strong, weak = set(), set()
    for order in ORDERS:
        d, *sides = shape[1:] if order == "channels-first" else (shape[3], *shape[1:3])
        low, high = min(sides), max(sides)
        if (low == high < d) or (high <= 2 * low and d >= _WIDEST * high):
            strong.add(order)
        if low == high or (high <= _WIDEST * low and d >= high):
            weak.add(order)
    return [order for order in ORDERS if order in strong and not weak - {order}]


def _spelled(layout: Layout) -> str:
    _, d, h, w = layout.shape
    return f"{d} channels on {h} x {w} positions{' and a class token' if layout.tokens else ''}"


Rows = Literal["classes", "attributes"]


class Undecided(DataError):
    """The orientation of a table is ambiguous."""


@dataclass(frozen=True)
class Evidence:
    """Facts about the two axes, from other data; None or empty where unknown."""

    classes: int | None = None  # Number of class names
    attributes: int | None = None  # Number of attribute names or word vectors
    labels: frozenset[int] = frozenset()  # Numbers of classes that the labels may imply

    def allows(self, classes: int, attributes: int) -> bool:
        """Whether a table may have these axes.

        Labels only set a lower limit: a class need not have an image.
        """
        fits = self.classes in (None, classes) and self.attributes in (None, attributes)
        return fits and classes >= min(self.labels, default=0)


def orient(
    path: Path,
    name: str,
    tables: Mapping[str, NDArray[Any]],
    evidence: Evidence,
    rows: Rows | None,
    form: str,
) -> tuple[NDArray[Any], str]:
    """Return the table as (C, A).

    Args:
        tables: Class-attribute tables of the file, (C, A) if it follows its format.
        evidence: Facts about the axes, from other data.
        rows: What the rows in the file are, according to the user.
        form: Format of the file, as in `zslkit.acquire.feature_files.FoundArrays`.

    Returns:
        The table, and a note, "" if the table was not transposed.

    Raises:
        Undecided: The orientation is ambiguous and `rows` is None.
        UserError: `rows` contradicts the evidence.
    """
    table = tables[name]
    usual: Rows = "attributes" if form == "xlsa17" else "classes"
    other: Rows = "classes" if form == "xlsa17" else "attributes"
    shape = table.shape if usual == "classes" else table.shape[::-1]
    readings = {usual: table.shape, other: table.shape[::-1]}
    allowed = [r for r, (c, a) in readings.items() if evidence.allows(c, a)]
    if rows is not None:
        if allowed and rows not in allowed:
            raise UserError(
                f"{path}: {name} has the shape {shape}, whose rows cannot be {rows}; leave "
                "--table-rows away"
            )
        found: Rows | None = rows
    elif len(allowed) == 1:
        found = allowed[0]
    elif not allowed:  # the caller reports which names, vectors or labels do not fit
        found = usual
    else:
        found = _by_labels(readings, evidence) or _by_norms(tables, usual, other)
    if found is None:
        raise Undecided(
            f"{path}: {name} has the shape {shape}, and nothing shows whether its rows are "
            "classes or attributes; say --table-rows classes or --table-rows attributes"
        )
    if found == usual:
        return table, ""
    return np.ascontiguousarray(table.T), (
        f"{name} has the shape {shape}, and its rows are {found}: it was turned to "
        f"{table.shape[1]} classes x {table.shape[0]} attributes"
    )


def _by_labels(readings: Mapping[Rows, tuple[int, ...]], evidence: Evidence) -> Rows | None:
    """Orientation whose number of classes is the one that the labels imply."""
    exact = [rows for rows, (classes, _) in readings.items() if classes in evidence.labels]
    return exact[0] if len(exact) == 1 else None


def _by_norms(tables: Mapping[str, NDArray[Any]], usual: Rows, other: Rows) -> Rows | None:
    """Orientation by `att`, in which every class has length 1."""
    if "att" not in tables:
        return None
    att = np.asarray(tables["att"], dtype=np.float64)
    unit = [bool(np.allclose(np.linalg.norm(att, axis=axis), 1, atol=1e-3)) for axis in (1, 0)]
    return None if unit[0] == unit[1] else usual if unit[0] else other
