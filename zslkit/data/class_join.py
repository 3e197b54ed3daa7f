"""Which row of a CSV of class attributes is which class of a file of features: by names, by number only where there are none."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from zslkit.data.folder_table import ClassTable
from zslkit.data.xlsa17_join import plain
from zslkit.errors import DataError, did_you_mean

_SHOWN = 5


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
                f"{moved[k] + 1} there, and {k + 1} here); sort them as they are there ({_some(expected)}), or save "
                f"the class names of the labels as class_names in {path}"
            )
    return order, notes


def _by_name(csv: Path, read: ClassTable, path: Path, classes: Sequence[str]) -> tuple[list[int], list[str]]:
    notes = [f"class attributes: {csv.name}, joined by class names"]
    row = {_same(name): k for k, name in enumerate(read.classes)}
    keys = [_same(name) for name in classes]
    lost = [name for name, key in zip(classes, keys, strict=True) if key not in row]
    if lost:
        loose = {plain(name): k for k, name in enumerate(read.classes)}
        if len(loose) == len(read.classes) and all(plain(name) in loose for name in classes):
            row, keys = loose, [plain(name) for name in classes]
            notes.append(f"{len(lost)} class names of {csv.name} differ in case, signs or number ({lost[0]!r}) and were taken for the same")
        elif any(_same(name) in {_same(a) for a in read.attributes} for name in classes):
            raise DataError(f"{csv}: its header holds the classes of {path}; save it transposed, a class a row")
        else:
            raise DataError(f"{csv}: {len(lost)} classes of {path} have no row ({lost[0]!r}, ...){did_you_mean(lost[0], read.classes)}")
    order = [row[key] for key in keys]
    if rest := [name for k, name in enumerate(read.classes) if k not in set(order)]:
        notes.append(f"{len(rest)} rows of {csv.name} are no class of {path.name} and are left out ({_some(rest)})")
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
            odd = f"; {_some(strange)} {'is' if len(strange) == 1 else 'are'} not in it"
        elif len(read.attributes) in expected and count not in expected:
            odd = "; is the CSV transposed?"
        else:
            odd = f" (the last row is {read.classes[-1]!r})"
        raise DataError(
            f"{csv} has {count} classes and {what} {size}{odd}; give a row to every class and to no other, or save the class "
            f"names as class_names in {path}"
        )
    return list(range(count)), [f"class attributes: {csv.name}, row k is class k, since {path.name} holds no class names"]


def _strangers(read: ClassTable, table: NDArray[Any] | None) -> list[str]:
    """Classes of the CSV whose values stand nowhere in the file's own table, where it has the same attributes."""
    if table is None or table.shape[1] != read.values.shape[1] or len(read.values) <= len(table):
        return []
    away = _distances(table, read.values)
    rows, columns = linear_sum_assignment(away)
    if away[rows, columns].mean() > _NEAR:
        return []
    return [name for k, name in enumerate(read.classes) if k not in set(rows.tolist())]


_NEAR = 0.05
"""Rows of length 1 that differ by less are one row, rounded."""
_ONE_TO_ONE = 1000
"""Classes up to which the best one-to-one assignment of rows is looked for."""


def moved_rows(own: NDArray[Any], given: NDArray[Any]) -> NDArray[np.int64] | None:
    """The row of `own` (C, A) that each row of `given` (C, A) is, if the rows are the same ones in another order; else None.

    Rows are compared by their sorted values at length 1, so neither the order of columns nor the scale matters.
    """
    if own.shape != given.shape:
        return None
    a, b = _signature(given), _signature(own)
    here = float(np.linalg.norm(a - b, axis=1).mean())
    if here < 1e-6:
        return None
    if len(own) <= _ONE_TO_ONE:
        away = _distances(own, given)
        rows, moved = linear_sum_assignment(away)
        apart = float(away[rows, moved].mean())
    else:  # all pairs would take too much memory, and one to one too much time
        moved = np.array([int(np.linalg.norm(b - row, axis=1).argmin()) for row in a])
        apart = float(np.linalg.norm(a - b[moved], axis=1).mean())
    return moved.astype(np.int64) if apart <= min(_NEAR, here / 4) else None


def _distances(own: NDArray[Any], given: NDArray[Any]) -> NDArray[np.float64]:
    a, b = _signature(given), _signature(own)
    found: NDArray[np.float64] = np.stack([np.linalg.norm(b - row, axis=1) for row in a])
    return found


def _signature(values: NDArray[Any]) -> NDArray[np.float64]:
    table = np.nan_to_num(np.asarray(values, dtype=np.float64))
    if (table > 0).any():
        table = np.maximum(table, 0)  # negative entries mean unknown in some tables, and 0 stands for them in others
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(np.sort(table / np.where(length > 0, length, 1), axis=1))


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(n) for n in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
