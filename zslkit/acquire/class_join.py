"""Joins by class names: rows of a CSV with a file of features, images with their folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

from zslkit.dataset import Index
from zslkit.datasets.attribute_table import ClassTable
from zslkit.datasets.xlsa17_join import anchored, plain, spelled
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
    """Find the row of `read` for each of the C classes of the file `path`; returns notes beside.

    Args:
        csv: File of `read`, for messages.
        read: Table of class attributes.
        path: File of features, for messages.
        classes: Its class names, None if it has none.
        counts: Numbers of classes that its labels may imply.
        own: Its own class-attribute tables (C, A), against which the order is checked.

    Raises:
        DataError: A class has no row, the numbers of classes differ where there are no names, or
            the file's own table shows another order.
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
                f"{csv}: its rows are those of {name} in {path} in another order "
                f"({read.classes[order[k]]!r} is row {moved[k] + 1} there, and {k + 1} here); "
                f"sort them as they are there ({some(expected)}), or {_names_of(path)}"
            )
    return order, notes


def _by_name(
    csv: Path, read: ClassTable, path: Path, classes: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Row numbers by class names; on failure, names are compared without case and punctuation."""
    notes = [f"class attributes: {csv.name}, joined by class names"]
    row = {spelled(name): k for k, name in enumerate(read.classes)}
    keys = [spelled(name) for name in classes]
    missing = [name for name, key in zip(classes, keys, strict=True) if key not in row]
    if missing:
        loose = {plain(name): k for k, name in enumerate(read.classes)}
        if len(loose) == len(read.classes) and all(plain(name) in loose for name in classes):
            row, keys = loose, [plain(name) for name in classes]
            notes.append(
                f"{len(missing)} class names of {csv.name} differ in case, signs or number "
                f"({missing[0]!r}) and were taken for the same"
            )
        elif {spelled(a) for a in read.attributes} & set(map(spelled, classes)):
            raise DataError(
                f"{csv}: its header holds the classes of {path}; save it transposed, a class a row"
            )
        else:
            raise DataError(
                f"{csv}: {len(missing)} classes of {path} have no row ({missing[0]!r}, "
                f"...){did_you_mean(missing[0], read.classes)}"
            )
    order = [row[key] for key in keys]
    if rest := [name for k, name in enumerate(read.classes) if k not in set(order)]:
        notes.append(
            f"{len(rest)} rows of {csv.name} are no class of {path.name} and are left out "
            f"({some(rest)})"
        )
    return order, notes


def _by_number(
    csv: Path, read: ClassTable, path: Path, counts: frozenset[int], own: Mapping[str, NDArray[Any]]
) -> tuple[list[int], list[str]]:
    """Row numbers 0 to C - 1, if the number of classes fits."""
    name, table = next(iter(own.items()), ("", None))
    expected = counts if table is None else frozenset({len(table)})
    count = len(read.classes)
    if expected and count not in expected:
        what = f"{name} in {path}" if table is not None else f"the labels of {path}"
        size = " or ".join(map(str, sorted(expected)))
        unmatched = _unmatched_classes(read, table)
        if unmatched:
            detail = f"; {some(unmatched)} {'is' if len(unmatched) == 1 else 'are'} not in it"
        elif len(read.attributes) in expected and count not in expected:
            detail = "; is the CSV transposed?"
        else:
            detail = f" (the last row is {read.classes[-1]!r})"
        raise DataError(
            f"{csv} has {count} classes and {what} {size}{detail}; give a row to every class and "
            f"to no other, or {_names_of(path)}"
        )
    numbers = [int(m[1]) for c in read.classes if (m := _NUMBERED.fullmatch(c))]
    if not own and len({*numbers}) == len(numbers) == count and numbers != sorted(numbers):
        k = next(k for k, n in enumerate(sorted(numbers)) if n != numbers[k])
        raise DataError(
            f"{csv}: its classes are numbered in another order than its rows "
            f"({read.classes[k]!r} is row {k + 1}), and {path} holds no class names; "
            f"{_names_of(path)}"
        )
    return list(range(count)), [
        f"class attributes: {csv.name}, row k is class k, since {path.name} holds no class names"
    ]


_NUMBERED = re.compile(r"(?:[^\W\d_]{0,10}[ ._-]?)(\d{1,9})(?:[ ._-].*)?", re.DOTALL)
"""Names with a number: 12, 012.Wren, class 12, c12."""


def _unmatched_classes(read: ClassTable, table: NDArray[Any] | None) -> list[str]:
    """Classes of the CSV whose values are not in the file's own table.

    Empty unless both have the same attributes.
    """
    if table is None or table.shape[1] != read.values.shape[1]:
        return []
    if max(len(table), len(read.values)) > _ONE_TO_ONE:
        return []
    distances = cdist(_unit(read.values), _unit(table))
    rows, columns = linear_sum_assignment(distances)
    if len(read.values) <= len(table) or distances[rows, columns].mean() > _NEAR:
        return []
    return [name for k, name in enumerate(read.classes) if k not in set(rows.tolist())]


_NEAR = 0.05
"""Normalised rows within this distance are the same row, rounded."""
_ONE_TO_ONE = 1000
"""Number of classes up to which rows are assigned one to one."""


def moved_rows(own: NDArray[Any], given: NDArray[Any]) -> NDArray[np.int64] | None:
    """Row (C,) of `own` for each row of `given`, if both (C, A) have the same rows in other order.

    Rows are compared as they are; then normalised, since one table may be a scaled copy; then by
    their sorted values, since the columns may be permuted too. Sorted values count only if they
    distinguish all rows. None if the order is the same or the rows differ.
    """
    if own.shape != given.shape:
        return None
    for transform in (_scaled, _unit, _sorted):
        a, b = transform(given), transform(own)
        unmoved = float(np.linalg.norm(a - b, axis=1).mean())
        as_they_are = transform is _scaled or (transform is _unit and own.shape[1] > 1)
        if unmoved < 1e-6 and as_they_are:
            return None
        moved = _nearest(a, b)
        distances = np.linalg.norm(a - b[moved], axis=1)
        if distances.mean() > min(_NEAR, unmoved / 4) or unmoved < 1e-6:
            continue
        if transform is not _sorted or _all_differ(b, 4 * float(distances.max()) + 1e-4):
            return moved
    return None


def _nearest(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int64]:
    """Row of b for each row of a; assigned one to one up to _ONE_TO_ONE rows."""
    if len(a) <= _ONE_TO_ONE:
        return np.asarray(linear_sum_assignment(cdist(a, b))[1], dtype=np.int64)
    return np.array([int(np.linalg.norm(b - row, axis=1).argmin()) for row in a], dtype=np.int64)


def _all_differ(table: NDArray[np.float64], least: float) -> bool:
    """Whether all pairs of rows are more than `least` apart."""
    return len(table) <= _ONE_TO_ONE and bool((pdist(table) > least).all())


def _scaled(values: NDArray[Any]) -> NDArray[np.float64]:
    """Scale the table to a maximum of 1; negative entries ("unknown" in some tables) become 0."""
    table = np.nan_to_num(np.asarray(values, dtype=np.float64))
    if (table > 0).any():
        table = np.maximum(table, 0)
    return np.asarray(table / max(float(np.abs(table).max(initial=0)), 1e-300))


def _unit(values: NDArray[Any]) -> NDArray[np.float64]:
    """Scale every row to length 1; rows of zeros stay as they are."""
    table = _scaled(values)
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(length > 0, length, 1))


def _sorted(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.sort(_unit(values), axis=1)


def _names_of(path: Path) -> str:
    """Advice on how to add class names to a file."""
    if path.suffix.lower() == ".npy":
        return "give the labels as class names, one a line, with --labels FILE.txt"
    array = "allclasses_names" if path.suffix.lower() == ".mat" else "class_names"
    return f"save the class names as {array} in {path}"


_Folder = tuple[str, ...]
_AS_LABELLED = "--as-labelled takes the labels as they are"


def own_class_ids(
    path: Path, classes: Sequence[str], labels: Index, files: Sequence[str]
) -> tuple[Index, tuple[str, ...]]:
    """Class of each image: its label, unless all folders show that labels count in another order.

    Folders may be laid out in any way: `ant/1.jpg`, `train/ant/1.jpg`, `ant/2019/1.jpg`,
    `train/1.jpg`. The level at which most images lie in a folder named after a class is used.

    Args:
        classes: C class names.
        labels: (N,) row indices of the class-attribute table.
        files: N image paths on the disk of the author.

    Returns:
        Class ids (N,), and notes.

    Raises:
        DataError: Folders and labels contradict each other.
    """
    if len(files) != len(labels):
        raise DataError(
            f"{path}: image_files has {len(files)} paths for {len(labels)} labels; mend it, or "
            f"{_AS_LABELLED}"
        )
    folders = [_folder(file) for file in files]
    named, level = _best_level(folders, _lookup(classes))
    by_folder = np.array([-1 if named[folder] is None else named[folder] for folder in folders])
    known = by_folder >= 0
    # If one class is named "train", the folders train and test are still not class folders.
    most = max(len({level(folder) for folder in folders}), len(set(labels.tolist())))
    if 2 * len(set(by_folder[known])) < most:
        note = "no folder in image_files is named after a class; the labels are taken as they are"
        return labels, (note,)
    wrong = known & (by_folder != labels)
    if not wrong.any():
        unmatched = sorted({str(level(folder)) for folder in folders if named[folder] is None})
        note = (
            f"{len(unmatched)} folders in image_files are named after no class "
            f"({some(unmatched, 3)}); their images go by their labels"
        )
        return labels, ((note,) if unmatched else ())
    pairs = set(zip(labels.tolist(), by_folder.tolist(), strict=True))
    one_to_one = len(pairs) == len({label for label, _ in pairs}) == len({k for _, k in pairs})
    if known.all() and one_to_one:
        note = (
            "labels count the classes in another order than their names; images go to the class "
            f"that their folder names ({_AS_LABELLED})"
        )
        return by_folder.astype(np.int64), (note,)
    first = int(wrong.argmax())
    raise DataError(
        f"{path}: image {first + 1} lies in the folder {level(folders[first])!r} and has the "
        f"label of {classes[labels[first]]!r}, and so {int(wrong.sum())} images contradict their "
        f"labels; mend labels or image_files, or {_AS_LABELLED}"
    )


def _folder(file: str) -> _Folder:
    """Folders above an image: those below `images` if the path contains it, else all."""
    parts = (anchored(file) or file.replace("\\", "/")).split("/")[:-1]
    return tuple(part for part in parts if part)


def _lookup(classes: Sequence[str]) -> Callable[[str], int | None]:
    """Class of a name as spelled; else without case and punctuation, where that is unambiguous."""
    exact = {spelled(c): k for k, c in enumerate(classes)}
    alike = Counter(plain(c) for c in classes)
    loose = {key: k for k, c in enumerate(classes) if alike[key := plain(c)] == 1 and key}
    return lambda name: exact.get(spelled(name), loose.get(plain(name)))


def _best_level(
    folders: Sequence[_Folder], number: Callable[[str], int | None]
) -> tuple[dict[_Folder, int | None], Callable[[_Folder], str | None]]:
    """Level at which most images lie in a folder named after a class.

    Returns folder -> class at this level, and the function that gives a folder's name there.
    """
    images = Counter(folders)
    tried = []
    for level in _levels(max(map(len, images), default=0)):
        named = {
            folder: None if (name := level(folder)) is None else number(name) for folder in images
        }
        matched = sum(count for folder, count in images.items() if named[folder] is not None)
        tried.append((matched, named, level))
    _, named, level = max(tried, key=lambda one: one[0])
    return named, level


def _levels(depth: int) -> Iterator[Callable[[_Folder], str | None]]:
    """Functions that give the name of a folder at each level, counted from either end."""
    yield "/".join
    for k in (k for up in range(depth) for k in (-1 - up, up)):
        yield lambda folder, k=k: folder[k] if -len(folder) <= k < len(folder) else None  # type: ignore[misc]
