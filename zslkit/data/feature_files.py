"""What files of other programs hold: features, labels, a split and class semantics, as they stand there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.data.hdf5 import open_hdf5
from zslkit.data.mat5 import MatFile
from zslkit.data.npy import npz_names, open_npy, open_npz
from zslkit.data.stream import SMALL, Stream, existing
from zslkit.errors import DataError, did_you_mean
from zslkit.files import check_permitted, read_small

PARTS = ("trainval", "test_seen", "test_unseen")
LARGE = ("feature_map", "features")
TABLES = ("original_att", "att")
HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
_SMALL = ("labels", *(f"{part}_loc" for part in PARTS), *TABLES, "w2v_att")


@dataclass(frozen=True)
class Found:
    """What a file holds. Numbers of images and classes are raw: from 0 or from 1, as the program that wrote them counts.

    format: whose. features (N, ...). labels (N,). parts: "trainval", "test_seen", "test_unseen" -> image numbers.
    tables: "att", "original_att" -> (C, A). words (A, W). base: what is counted from, where the format says so.
    notes: what was passed over.
    """

    path: Path
    format: str
    features: Stream | None = None
    labels: NDArray[Any] | None = None
    parts: dict[str, NDArray[Any]] = field(default_factory=dict)
    tables: dict[str, NDArray[Any]] = field(default_factory=dict)
    words: NDArray[Any] | None = None
    classes: tuple[str, ...] | None = None
    files: tuple[str, ...] | None = None
    base: int | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def open_features(path: Path) -> Iterator[Found]:
    """The file of features at `path`, by its ending: .mat, .h5 or .hdf5, .npz, .npy.

    Raises DataError that names the file if it is missing, damaged, of another format or without features.
    """
    path = existing(Path(path), "file of features")
    suffix = path.suffix.lower()
    if suffix in HDF5:
        with open_hdf5(path, _SMALL, LARGE) as arrays:
            yield _need(_of_small(path, "HDF5 cache", arrays.small, arrays.large))
    elif suffix in _READERS:
        yield _need(_READERS[suffix](path))
    else:
        known = [*HDF5[:2], *_READERS]
        raise DataError(f"{path}: features are read from {', '.join(known)}, and not from {suffix!r}{did_you_mean(suffix, known)}")


def read_split(path: Path) -> Found:
    """A split, and class semantics if they are there, from att_splits.mat, a .npz or .h5 file, or a folder of .npy files.

    Raises DataError that names the file or folder if it is missing, damaged, or lacks a part of the split.
    """
    path = Path(path)
    if path.is_dir():
        found = Found(path, "folder", parts=_beside(path, {}))
    elif existing(path, "split file").suffix.lower() in HDF5:
        with open_hdf5(path, _SMALL, ()) as arrays:
            found = _of_small(path, "HDF5 cache", arrays.small, None)
    elif path.suffix.lower() in (".mat", ".npz"):
        found = _read_mat(path, only_split=True) if path.suffix.lower() == ".mat" else _read_npz(path)
    else:
        raise DataError(f"{path}: a split is read from att_splits.mat, .npz, .h5, or a folder of {PARTS[0]}_loc.npy and so on")
    if lost := [f"{part}_loc" for part in PARTS if part not in found.parts]:
        raise DataError(f"{path} holds no {', '.join(lost)}; is it the file of a split?")
    return replace(found, features=None, labels=None, files=None)


def read_numbers(path: Path, what: str) -> NDArray[Any]:
    """One array of numbers from .npy, or from text with one a line. Raises DataError that names the file."""
    path = existing(Path(path), f"file of {what}")
    check_permitted(path)
    if path.suffix.lower() == ".npy":
        return _whole(path, what, open_npy(path))
    if path.suffix.lower() not in (".txt", ".csv"):
        raise DataError(f"{path}: {what} are read from .npy or .txt, and not from {path.suffix!r}")
    try:
        return np.array([int(line) for line in read_small(path, SMALL).split()], dtype=np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: {what} in text form are whole numbers, one a line ({str(error)[:100]}); mend the file") from error


_NO_FILES = "image_files is no list of texts and was passed over; the labels are taken as they are"


def _need(found: Found) -> Found:
    if found.features is None:
        raise DataError(f"{found.path} holds no {' or '.join(LARGE)}; name the file with the features")
    return found


def _read_mat(path: Path, only_split: bool = False) -> Found:
    mat = MatFile(path)

    def vector(name: str) -> NDArray[Any] | None:
        return _vector(path, name, {name: mat.table(name)}) if name in mat else None

    if only_split:
        return _refusing_rows_of_classes(_split_of(mat, vector), None)
    names_files = "image_files" in mat
    files = names_files and mat.holds_texts("image_files")
    found = replace(
        _split_of(mat, vector),
        features=mat.columns("features") if "features" in mat else None,
        labels=vector("labels"),
        files=tuple(mat.texts("image_files")) if files else None,
        notes=(_NO_FILES,) if names_files and not files else (),
    )
    _refusing_rows_of_classes(found, found.labels)
    beside = path.with_name("att_splits.mat")
    if not found.parts and beside != path and beside.is_file():
        splits = _refusing_rows_of_classes(_read_mat(beside, only_split=True), found.labels)
        return replace(found, parts=splits.parts, tables=splits.tables, classes=splits.classes)
    return found


def _split_of(mat: MatFile, vector: Callable[[str], NDArray[Any] | None]) -> Found:
    """What att_splits.mat holds; other variables are not looked at."""
    return Found(
        mat.path,
        "xlsa17",
        parts={part: index for part in PARTS if (index := vector(f"{part}_loc")) is not None},
        tables={name: mat.table(name).T for name in _usable(mat)},
        classes=tuple(mat.texts("allclasses_names")) if "allclasses_names" in mat else None,
        base=1,
    )


def _usable(mat: MatFile) -> list[str]:
    """The class-attribute tables that are numbers; where none is, what is there, so that reading it says why."""
    there = [name for name in TABLES if name in mat]
    return [name for name in there if mat.is_numeric(name)] or there


def refuse_transposed(path: Path, name: str, shape: Sequence[int], count: int, of: str, kind: str) -> None:
    """Refuse a table of a MATLAB file that holds in its rows what its columns should hold.

    Args:
        path: The file.
        name: The variable.
        shape: (columns, rows), as its stream or its transpose has it.
        count: How many there are of what the columns should hold.
        of: What tells so, such as "labels".
        kind: What a column holds.

    Raises:
        DataError: The rows are as many as there should be columns, and the columns are not.
    """
    if len(shape) == 2 and shape[0] != count == shape[1]:
        raise DataError(
            f"{path}: {name} is {count} x {shape[0]} for {count} {of}, and in a MATLAB file {kind} is a column; "
            f"save its transpose ({shape[0]} x {count}) there"
        )


def _refusing_rows_of_classes(found: Found, labels: NDArray[Any] | None) -> Found:
    """`found`, whose tables hold a class in each column, as far as class names tell, or labels (from 1) where there are none."""
    count, of = (len(found.classes), "class names") if found.classes is not None else (0, "")
    if not count and labels is not None and labels.size and np.isfinite(labels).all():
        count, of = int(labels.max()), "classes in labels"
    for name, table in found.tables.items():
        refuse_transposed(found.path, name, table.shape, count, of, "a class")
    return found


def _read_npz(path: Path) -> Found:
    names = npz_names(path)
    small = {name: _whole(path, name, open_npz(path, name)) for name in _SMALL if name in names}
    large = next((name for name in LARGE if name in names), None)
    return _of_small(path, ".npz", small, None if large is None else open_npz(path, large))


def _read_npy(path: Path) -> Found:
    labels = path.with_name("labels.npy")
    held = _whole(labels, "labels", open_npy(labels)).ravel() if labels.is_file() and labels != path else None
    return Found(path, ".npy", open_npy(path), held, _beside(path.parent, {}))


_READERS: dict[str, Callable[[Path], Found]] = {".mat": _read_mat, ".npz": _read_npz, ".npy": _read_npy}


def _beside(folder: Path, found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    for part in PARTS:
        for name in (f"{part}_loc.npy", f"{part}.npy"):
            if part not in found and (folder / name).is_file():
                found[part] = _whole(folder / name, part, open_npy(folder / name)).ravel()
    return found


def _of_small(path: Path, form: str, small: dict[str, NDArray[Any]], large: Stream | None) -> Found:
    return Found(
        path,
        form,
        large,
        _vector(path, "labels", small),
        {part: found for part in PARTS if (found := _vector(path, f"{part}_loc", small)) is not None},
        {name: _matrix(path, name, small[name]) for name in TABLES if name in small},
        _matrix(path, "w2v_att", small["w2v_att"]) if "w2v_att" in small else None,
    )


def _vector(path: Path, name: str, small: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    if name not in small:
        return None
    if small[name].size != max(small[name].shape, default=1):
        raise DataError(f"{path}: {name} has the shape {small[name].shape} and should be a row of numbers; mend it")
    return small[name].ravel()


def _matrix(path: Path, name: str, table: NDArray[Any]) -> NDArray[Any]:
    if table.ndim != 2 or 0 in table.shape:
        raise DataError(f"{path}: {name} has the shape {table.shape} and should be a table; mend it")
    return table


def _whole(path: Path, name: str, stream: Stream) -> NDArray[Any]:
    if stream.nbytes > SMALL:
        raise DataError(f"{path}: {name} takes {stream.nbytes / 1e6:,.0f} MB, too much for what it should be; check the file")
    return stream.whole()
