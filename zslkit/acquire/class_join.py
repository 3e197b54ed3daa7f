"""Which row of a CSV of class attributes is which class of a file of features: by names, by number only where there are none."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from zslkit.datasets.attribute_table import ClassTable
from zslkit.datasets.xlsa17_join import plain
from zslkit.errors import DataError, did_you_mean
from zslkit.readers.names import some


def join_rows(
    csv: Path,
    read: ClassTable,
    path: Path,
    classes: Sequence[str] | None,
    counts: frozenset[int],
    own: Mapping[str, NDArray[Any]],
) -> tuple[list[int], list[str]]:
    """The row of `read` for each class of the file `path`.

    Args:
        csv: The file of `read`, for messages.
        read: The table of class attributes.
        path: The file of features, for messages.
        classes: Its class names, None if it has none.
        counts: The numbers of classes that its labels may mean.
        own: Its own class-attribute tables (C, A), which must not contradict the order that was found.

    Returns:
        C row numbers, and what is worth knowing of the join.

    Raises:
        DataError: If a class has no row, the numbers of classes differ where no names join them, or the file's own table
            shows another order.
    """
    if classes is not None:
        order, notes = _by_name(csv, read, path, classes)
    else:
        order, notes = _by_number(csv, read, path, counts, own)
    for name, table in own.items():
        if (moved := moved_rows(table, read.values[order])) is not None:
            k = int(np.flatnonzero(moved != np.arange(len(moved)))[0])
            expected = [read.classes[order[i]] for i in np.argsort(moved)]
            raise DataError(
                f"{csv}: its rows are those of {name} in {path} in another order ({read.classes[order[k]]!r} is row "
                f"{moved[k] + 1} there, and {k + 1} here); sort them as they are there ({some(expected)}), or {_names_of(path)}"
            )
    return order, notes


def _by_name(
    csv: Path, read: ClassTable, path: Path, classes: Sequence[str]
) -> tuple[list[int], list[str]]:
    notes = [f"class attributes: {csv.name}, joined by class names"]
    row = {_same(name): k for k, name in enumerate(read.classes)}
    keys = [_same(name) for name in classes]
    lost = [name for name, key in zip(classes, keys, strict=True) if key not in row]
    if lost:
        loose = {plain(name): k for k, name in enumerate(read.classes)}
        if len(loose) == len(read.classes) and all(plain(name) in loose for name in classes):
            row, keys = loose, [plain(name) for name in classes]
            notes.append(
                f"{len(lost)} class names of {csv.name} differ in case, signs or number ({lost[0]!r}) and were taken for the same"
            )
        elif any(_same(name) in {_same(a) for a in read.attributes} for name in classes):
            raise DataError(
                f"{csv}: its header holds the classes of {path}; save it transposed, a class a row"
            )
        else:
            raise DataError(
                f"{csv}: {len(lost)} classes of {path} have no row ({lost[0]!r}, ...){did_you_mean(lost[0], read.classes)}"
            )
    order = [row[key] for key in keys]
    if rest := [name for k, name in enumerate(read.classes) if k not in set(order)]:
        notes.append(
            f"{len(rest)} rows of {csv.name} are no class of {path.name} and are left out ({some(rest)})"
        )
    return order, notes


def _by_number(
    csv: Path, read: ClassTable, path: Path, counts: frozenset[int], own: Mapping[str, NDArray[Any]]
) -> tuple[list[int], list[str]]:
    name, table = next(iter(own.items()), ("", None))
    expected = counts if table is None else frozenset({len(table)})
    count = len(read.classes)
    if expected and count not in expected:
        what = f"{name} in {path}" if table is not None else f"the labels of {path}"
        size = " or ".join(map(str, sorted(expected)))
        strange = _strangers(read, table)
        if strange:
            odd = f"; {some(strange)} {'is' if len(strange) == 1 else 'are'} not in it"
        elif len(read.attributes) in expected and count not in expected:
            odd = "; is the CSV transposed?"
        else:
            odd = f" (the last row is {read.classes[-1]!r})"
        raise DataError(
            f"{csv} has {count} classes and {what} {size}{odd}; give a row to every class and to no other, or {_names_of(path)}"
        )
    return list(range(count)), [
        f"class attributes: {csv.name}, row k is class k, since {path.name} holds no class names"
    ]


def _strangers(read: ClassTable, table: NDArray[Any] | None) -> list[str]:
    """Classes of the CSV whose values stand nowhere in the file's own table, where it has the same attributes."""
    if (
        table is None
        or table.shape[1] != read.values.shape[1]
        or len(table) > _ONE_TO_ONE
        or len(read.values) > _ONE_TO_ONE
    ):
        return []
    away = _distances(_unit(read.values), _unit(table))
    rows, columns = linear_sum_assignment(away)
    if len(read.values) <= len(table) or away[rows, columns].mean() > _NEAR:
        return []
    return [name for k, name in enumerate(read.classes) if k not in set(rows.tolist())]


_NEAR = 0.05
"""Rows of length 1 that differ by less are one row, rounded."""
_ONE_TO_ONE = 1000
"""Classes up to which the best one-to-one assignment of rows is looked for."""


def moved_rows(own: NDArray[Any], given: NDArray[Any]) -> NDArray[np.int64] | None:
    """The row of `own` (C, A) that each row of `given` (C, A) is, if the rows are the same ones in another order; else None.

    Rows are compared as they are, then at length 1, since one table may be the other one scaled, and then by their sorted
    values, since the columns may stand in another order too. Sorted values count only where they tell all rows apart.
    """
    if own.shape != given.shape:
        return None
    for look in (_scaled, _unit, _sorted):
        a, b = look(given), look(own)
        here = float(np.linalg.norm(a - b, axis=1).mean())
        if here < 1e-6 and look is not _sorted and (look is _scaled or own.shape[1] > 1):
            return None
        moved = _nearest(a, b)
        apart = np.linalg.norm(a - b[moved], axis=1)
        if apart.mean() > min(_NEAR, here / 4) or here < 1e-6:
            continue
        if look is not _sorted or _all_differ(b, 4 * float(apart.max()) + 1e-4):
            return moved
    return None


def _nearest(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int64]:
    """The row of b for each row of a, one to one unless there are so many that this would take too long."""
    if len(a) <= _ONE_TO_ONE:
        return np.asarray(linear_sum_assignment(_distances(a, b))[1], dtype=np.int64)
    return np.array([int(np.linalg.norm(b - row, axis=1).argmin()) for row in a], dtype=np.int64)


def _all_differ(table: NDArray[np.float64], least: float) -> bool:
    if len(table) > _ONE_TO_ONE:
        return False
    away = _distances(table, table)
    return bool((away + np.diag(np.full(len(table), np.inf)) > least).all())


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.linalg.norm(b - row, axis=1) for row in a])


def _scaled(values: NDArray[Any]) -> NDArray[np.float64]:
    """The largest value 1. Negative entries mean unknown in some tables, and 0 stands for them in others."""
    table = np.nan_to_num(np.asarray(values, dtype=np.float64))
    if (table > 0).any():
        table = np.maximum(table, 0)
    return np.asarray(table / max(float(np.abs(table).max(initial=0)), 1e-300))


def _unit(values: NDArray[Any]) -> NDArray[np.float64]:
    """Every row at length 1; a row of zeros stays one."""
    table = _scaled(values)
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(length > 0, length, 1))


def _sorted(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.sort(_unit(values), axis=1)


def _names_of(path: Path) -> str:
    """How a file gets the names that a join needs."""
    if path.suffix.lower() == ".npy":
        return "give the labels as class names, one a line, with --labels FILE.txt"
    return f"save the class names as {'allclasses_names' if path.suffix.lower() == '.mat' else 'class_names'} in {path}"


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())
