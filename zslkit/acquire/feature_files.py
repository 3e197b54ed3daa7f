"""What files of other programs hold: features, labels, a split and class semantics, as they stand there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import PARTS
from zslkit.errors import DataError, did_you_mean
from zslkit.readers.faults import Faults
from zslkit.readers.hdf5 import open_hdf5
from zslkit.readers.mat5 import MatFile
from zslkit.readers.npy import npz_names, npz_texts, open_npy, open_npz
from zslkit.readers.stream import SMALL, Stream, existing
from zslkit.utils.files import check_permitted, read_small

LARGE = ("feature_map", "features")
TABLES = ("original_att", "att")
HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
CLASS_NAMES = (
    "allclasses_names",
    "class_names",
    "classnames",
    "classes",
    "label_names",
    "class_labels",
)
"""Arrays of class names, in the order of the rows of the class attributes; the first that holds texts is taken."""
ATTRIBUTE_NAMES = ("attribute_names", "attributes_names", "att_names", "attr_names", "attributes")
"""Arrays of attribute names, in the order of the columns."""
_SMALL = ("labels", *(f"{part}_loc" for part in PARTS), *TABLES, "w2v_att")
_TEXTS = ("labels", *CLASS_NAMES, *ATTRIBUTE_NAMES)


@dataclass(frozen=True)
class FoundArrays:
    """What a file holds. Numbers of images and classes are raw: from 0 or from 1, as the program that wrote them counts.

    format: whose. features (N, ...). labels (N,). parts: "trainval", "test_seen", "test_unseen" -> image numbers.
    tables: "att", "original_att" -> (C, A). words (A, W). base: what is counted from, where the format says so.
    classes, attributes: C and A names. unused: names of what else lies in the file; sealed: those of them that hold class names
    in a form that is not read. notes: what was passed over.
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
    attributes: tuple[str, ...] | None = None
    unused: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def open_features(path: Path) -> Iterator[FoundArrays]:
    """The file of features at `path`, by its ending: .mat, .h5 or .hdf5, .npz, .npy.

    Raises DataError that names the file if it is missing, damaged or of another format.
    """
    path = existing(Path(path), "file of features")
    suffix = path.suffix.lower()
    if suffix in HDF5:
        with open_hdf5(path, _SMALL, LARGE, texts=_TEXTS) as arrays:
            yield _of_small(
                path,
                "HDF5 cache",
                arrays.small,
                arrays.large,
                arrays.texts,
                arrays.others,
                arrays.sealed,
            )
    elif suffix in _READERS:
        yield _READERS[suffix](path)
    else:
        known = [*HDF5[:2], *_READERS]
        raise DataError(
            f"{path}: features are read from {', '.join(known)}, and not from {suffix!r}{did_you_mean(suffix, known)}"
        )


def read_split(path: Path) -> FoundArrays:
    """A split, and class semantics if they are there, from att_splits.mat, a .npz or .h5 file, or a folder of .npy files.

    Raises DataError that names the file or folder if it is missing, damaged, or lacks a part of the split.
    """
    path = Path(path)
    if path.is_dir():
        found = FoundArrays(path, "folder", parts=_beside(path, {}))
    elif existing(path, "split file").suffix.lower() in HDF5:
        with open_hdf5(path, _SMALL, (), texts=_TEXTS) as arrays:
            found = _of_small(path, "HDF5 cache", arrays.small, None, arrays.texts)
    elif path.suffix.lower() in (".mat", ".npz"):
        found = (
            _read_mat(path, only_split=True) if path.suffix.lower() == ".mat" else _read_npz(path)
        )
    else:
        raise DataError(
            f"{path}: a split is read from att_splits.mat, .npz, .h5, or a folder of {PARTS[0]}_loc.npy and so on"
        )
    if lost := [f"{part}_loc" for part in PARTS if part not in found.parts]:
        raise DataError(f"{path} holds no {', '.join(lost)}; is it the file of a split?")
    return replace(found, features=None, labels=None, files=None, unused=())


def read_labels(path: Path) -> NDArray[Any]:
    """Labels from .npy, or class numbers or class names from text, one a line. Raises DataError that names the file."""
    path = existing(Path(path), "file of labels")
    check_permitted(path)
    if path.suffix.lower() == ".npy":
        return _whole(path, "labels", open_npy(path))
    if path.suffix.lower() not in (".txt", ".csv"):
        raise DataError(f"{path}: labels are read from .npy or .txt, and not from {path.suffix!r}")
    try:
        text = read_small(path, SMALL)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the labels cannot be read ({str(error)[:100]}); save them as UTF-8 text"
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and not any(all(_NUMBER.fullmatch(word) for word in line.split()) for line in lines):
        return _names(path, lines)
    try:
        if odd := [word for word in text.split() if "_" in word]:  # which Python takes for a number
            raise ValueError(f"{odd[0]!r} is none")
        return np.array([int(word) for word in text.split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: labels in text form are whole numbers or class names, one a line ({str(error)[:100]}); mend the file"
        ) from error


_NUMBER = re.compile(r"[-+]?[\d_.,]+([eE][-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.IGNORECASE)
_LONGEST_NAME = 1000


def _names(path: Path, texts: Sequence[str]) -> NDArray[np.str_]:
    """Labels that are names (N,). All take the room of the longest, so it must not be long."""
    if max(map(len, texts), default=0) > _LONGEST_NAME:
        raise DataError(
            f"{path}: a label of over {_LONGEST_NAME} letters is no class name; mend the labels"
        )
    return np.array(texts, dtype=np.str_)


_NO_FILES = "image_files is no list of texts and was passed over; the labels are taken as they are"


def _read_mat(path: Path, only_split: bool = False) -> FoundArrays:
    mat = MatFile(path)

    def vector(name: str) -> NDArray[Any] | None:
        return _vector(path, name, mat.table(name)) if name in mat else None

    if only_split:
        return _split_of(mat, vector)
    names_files = "image_files" in mat
    files = names_files and mat.holds_texts("image_files")
    found = replace(
        _split_of(mat, vector),
        features=mat.columns("features") if "features" in mat else None,
        labels=vector("labels"),
        files=tuple(mat.texts("image_files")) if files else None,
        notes=(_NO_FILES,) if names_files and not files else (),
    )
    beside = path.with_name("att_splits.mat")
    if not found.parts and beside != path and beside.is_file():
        splits = _read_mat(beside, only_split=True)
        return replace(found, parts=splits.parts, tables=splits.tables, classes=splits.classes)
    return found


def _split_of(mat: MatFile, vector: Callable[[str], NDArray[Any] | None]) -> FoundArrays:
    """What att_splits.mat holds; other variables are not looked at."""
    return FoundArrays(
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


def _read_npz(path: Path) -> FoundArrays:
    names = npz_names(path)
    if {"data", "indices", "indptr", "shape"} <= set(names):
        raise DataError(
            f"{path} holds a sparse matrix of scipy; save numpy.savez(FILE, features=matrix.toarray(), labels=...) instead"
        )
    read = {
        name: held
        for name in _TEXTS
        if name in names and (held := npz_texts(path, name)) is not None
    }
    texts = {name: held for name, held in read.items() if held != "objects"}
    sealed = [name for name in CLASS_NAMES if read.get(name) == "objects"]
    faults = Faults(path)
    small = {}
    for name in _SMALL:
        if name in names and name not in texts:
            with faults.noted():
                small[name] = _whole(path, name, open_npz(path, name))
    large = next((name for name in LARGE if name in names), None)
    stream = None
    if large is not None:
        with faults.noted():
            stream = open_npz(path, large)
    faults.tell()
    return _of_small(
        path,
        ".npz",
        small,
        stream,
        texts,
        [n for n in names if n not in {*small, *texts, large}],
        sealed,
    )


def _read_npy(path: Path) -> FoundArrays:
    labels = path.with_name("labels.npy")
    held = (
        _whole(labels, "labels", open_npy(labels)).ravel()
        if labels.is_file() and labels != path
        else None
    )
    return FoundArrays(path, ".npy", open_npy(path), held, _beside(path.parent, {}))


_READERS: dict[str, Callable[[Path], FoundArrays]] = {
    ".mat": _read_mat,
    ".npz": _read_npz,
    ".npy": _read_npy,
}


def _beside(folder: Path, found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    for part in PARTS:
        for name in (f"{part}_loc.npy", f"{part}.npy"):
            if part not in found and (folder / name).is_file():
                found[part] = _whole(folder / name, part, open_npy(folder / name)).ravel()
    return found


def _of_small(
    path: Path,
    form: str,
    small: Mapping[str, NDArray[Any]],
    large: Stream | None,
    texts: Mapping[str, tuple[str, ...]],
    others: Sequence[str] = (),
    sealed: Sequence[str] = (),
) -> FoundArrays:
    faults = Faults(path)
    vectors: dict[str, NDArray[Any]] = {}
    tables: dict[str, NDArray[Any]] = {}
    for name, array in small.items():
        with faults.noted():
            kept, read = (tables, _matrix) if name in (*TABLES, "w2v_att") else (vectors, _vector)
            kept[name] = read(path, name, array)
    faults.tell()
    labels = _names(path, texts["labels"]) if "labels" in texts else vectors.get("labels")
    classes, attributes = (
        next((n for n in names if n in texts), None) for names in (CLASS_NAMES, ATTRIBUTE_NAMES)
    )
    spare = [name for name in texts if name not in ("labels", classes, attributes)]
    return FoundArrays(
        path,
        form,
        large,
        labels,
        {part: vectors[f"{part}_loc"] for part in PARTS if f"{part}_loc" in vectors},
        {name: tables[name] for name in TABLES if name in tables},
        tables.get("w2v_att"),
        None if classes is None else texts[classes],
        attributes=None if attributes is None else texts[attributes],
        unused=(*others, *spare),
        sealed=tuple(name for name in sealed if name in CLASS_NAMES),
    )


def _vector(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.size != max(array.shape, default=1):
        one_hot = (
            array.ndim == 2
            and name == "labels"
            and bool(((array == 0) | (array == 1)).all())
            and bool((array.sum(1) == 1).all())
        )
        hint = "save its argmax(axis=1)" if one_hot else "mend it"
        raise DataError(
            f"{path}: {name} has the shape {array.shape} and should be a row of numbers; {hint}"
        )
    return array.ravel()


def _matrix(path: Path, name: str, table: NDArray[Any]) -> NDArray[Any]:
    if table.ndim != 2 or 0 in table.shape:
        raise DataError(
            f"{path}: {name} has the shape {table.shape} and should be a table; mend it"
        )
    return table


def _whole(path: Path, name: str, stream: Stream) -> NDArray[Any]:
    if stream.nbytes > SMALL:
        raise DataError(
            f"{path}: {name} takes {stream.nbytes / 1e6:,.0f} MB, too much for what it should be; check the file"
        )
    return stream.whole()
