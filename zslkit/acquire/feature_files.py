"""Readers for features, labels, splits and class semantics in files of other programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import PARTS
from zslkit.errors import DataError, did_you_mean
from zslkit.readers.faults import Faults
from zslkit.readers.hdf5 import NamedArrays, open_hdf5
from zslkit.readers.mat5 import MatFile
from zslkit.readers.npy import npz_names, npz_texts, open_npy, open_npz
from zslkit.readers.stream import SMALL, Stream, existing
from zslkit.utils.files import lines_of, read_text

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
"""Arrays of class names, in the order of the class attributes; the first with texts is used."""
ATTRIBUTE_NAMES = ("attribute_names", "attributes_names", "att_names", "attr_names", "attributes")
"""Arrays of attribute names, in the order of the columns."""
_SMALL = ("labels", *(f"{part}_loc" for part in PARTS), *TABLES, "w2v_att")
_TEXTS = ("labels", *CLASS_NAMES, *ATTRIBUTE_NAMES)


@dataclass(frozen=True)
class FoundArrays:
    """Contents of a file; indices of images and classes start at 0 or 1, as in the file."""

    path: Path
    format: str
    features: Stream | None = None  # (N, ...)
    labels: NDArray[Any] | None = None  # (N,) class numbers or class names
    # "trainval", "test_seen", "test_unseen" -> image indices
    parts: dict[str, NDArray[Any]] = field(default_factory=dict)
    tables: dict[str, NDArray[Any]] = field(default_factory=dict)  # "att", "original_att" -> (C, A)
    words: NDArray[Any] | None = None  # (A, W) word vectors of the attributes
    classes: tuple[str, ...] | None = None  # C class names
    files: tuple[str, ...] | None = None  # N image paths
    base: int | None = None  # First index (0 or 1), where the format fixes it
    attributes: tuple[str, ...] | None = None  # A attribute names
    unused: tuple[str, ...] = ()  # Names of everything else in the file
    sealed: tuple[str, ...] = ()  # Those of `unused` that hold class names in an unreadable form
    notes: tuple[str, ...] = ()  # Notes on what was ignored


@contextmanager
def open_features(path: Path) -> Iterator[FoundArrays]:
    """Open a file of features; its extension decides the format: .mat, .h5, .hdf5, .npz or .npy.

    Raises:
        DataError: Names the file that is missing, damaged or of another format.
    """
    path = existing(Path(path), "file of features")
    suffix = path.suffix.lower()
    if suffix in HDF5:
        with open_hdf5(path, _SMALL, LARGE, texts=_TEXTS) as arrays:
            yield _assemble(path, "HDF5 cache", arrays)
    elif suffix in _READERS:
        yield _READERS[suffix](path)
    else:
        known = [*HDF5[:2], *_READERS]
        raise DataError(
            f"{path}: features are read from {', '.join(known)}, and not from "
            f"{suffix!r}{did_you_mean(suffix, known)}"
        )


def read_split(path: Path) -> FoundArrays:
    """Read a split, with class semantics where present.

    It is att_splits.mat, a .npz or .h5 file, or a folder of .npy files.

    Raises:
        DataError: Names the file or folder that is missing, damaged, or lacks a part of the split.
    """
    path = Path(path)
    if path.is_dir():
        found = FoundArrays(path, "folder", parts=_beside(path))
    elif (suffix := existing(path, "split file").suffix.lower()) in HDF5:
        with open_hdf5(path, _SMALL, (), texts=_TEXTS) as arrays:
            found = _assemble(path, "HDF5 cache", arrays)
    elif suffix == ".mat":
        found = _read_mat(path, only_split=True)
    elif suffix == ".npz":
        found = _read_npz(path)
    else:
        raise DataError(
            f"{path}: a split is read from att_splits.mat, .npz, .h5, or a folder of "
            f"{PARTS[0]}_loc.npy and so on"
        )
    if absent := [f"{part}_loc" for part in PARTS if part not in found.parts]:
        raise DataError(f"{path} holds no {', '.join(absent)}; is it the file of a split?")
    return replace(found, features=None, labels=None, files=None, unused=(), sealed=())


def read_labels(path: Path) -> NDArray[Any]:
    """Read labels from .npy, or class numbers or class names from text, one a line.

    Raises:
        DataError: Names the file that is missing or holds no labels.
    """
    path = existing(Path(path), "file of labels")
    if path.suffix.lower() == ".npy":
        return _whole(path, "labels", open_npy(path))
    if path.suffix.lower() not in (".txt", ".csv"):
        raise DataError(f"{path}: labels are read from .npy or .txt, and not from {path.suffix!r}")
    text = read_text(path, f"{path}: the labels", "save them as UTF-8 text", SMALL)
    lines = lines_of(text)
    if lines and not any(all(_NUMBER.fullmatch(word) for word in line.split()) for line in lines):
        return _names(path, lines)
    try:
        if invalid := [word for word in text.split() if "_" in word]:  # int("1_0") is 10 in Python
            raise ValueError(f"{invalid[0]!r} is none")
        return np.array([int(word) for word in text.split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: labels in text form are whole numbers or class names, one a line "
            f"({str(error)[:100]}); mend the file"
        ) from error


_NUMBER = re.compile(r"[-+]?[\d_.,]+([eE][-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.IGNORECASE)
_LONGEST_NAME = 1000


def _names(path: Path, texts: Sequence[str]) -> NDArray[np.str_]:
    """Class names as an array (N,); limited in length: each takes the memory of the longest."""
    if max(map(len, texts), default=0) > _LONGEST_NAME:
        raise DataError(
            f"{path}: a label of over {_LONGEST_NAME} letters is no class name; mend the labels"
        )
    return np.array(texts, dtype=np.str_)


_NO_FILES = "image_files is no list of texts and was passed over; the labels are taken as they are"


def _read_mat(path: Path, only_split: bool = False) -> FoundArrays:
    """Read a .mat file; where it has no split, att_splits.mat beside it is read too."""
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
    """Contents of att_splits.mat; other variables are not read."""
    return FoundArrays(
        mat.path,
        "xlsa17",
        parts={part: index for part in PARTS if (index := vector(f"{part}_loc")) is not None},
        tables={name: mat.table(name).T for name in _usable(mat)},
        classes=tuple(mat.texts("allclasses_names")) if "allclasses_names" in mat else None,
        base=1,
    )


def _usable(mat: MatFile) -> list[str]:
    """Numeric class-attribute tables; without any, all tables, so that reading them fails."""
    present = [name for name in TABLES if name in mat]
    return [name for name in present if mat.is_numeric(name)] or present


def _read_npz(path: Path) -> FoundArrays:
    names = npz_names(path)
    if {"data", "indices", "indptr", "shape"} <= set(names):
        raise DataError(
            f"{path} holds a sparse matrix of scipy; save numpy.savez(FILE, "
            "features=matrix.toarray(), labels=...) instead"
        )
    read = {
        name: found
        for name in _TEXTS
        if name in names and (found := npz_texts(path, name)) is not None
    }
    arrays = NamedArrays(
        texts={name: found for name, found in read.items() if found != "objects"},
        sealed=tuple(name for name, found in read.items() if found == "objects"),
    )
    faults = Faults(path)
    for name in _SMALL:
        if name in names and name not in arrays.texts:
            with faults.noted():
                arrays.small[name] = _whole(path, name, open_npz(path, name))
    large = next((name for name in LARGE if name in names), None)
    if large is not None:
        with faults.noted():
            arrays.large = open_npz(path, large)
    faults.warn()
    asked = {*arrays.small, *arrays.texts, large}
    arrays.others = tuple(name for name in names if name not in asked)
    return _assemble(path, ".npz", arrays)


def _read_npy(path: Path) -> FoundArrays:
    labels, numbers = path.with_name("labels.npy"), None
    if labels.is_file() and labels != path:
        numbers = _whole(labels, "labels", open_npy(labels)).ravel()
    return FoundArrays(path, ".npy", open_npy(path), numbers, _beside(path.parent))


_READERS: dict[str, Callable[[Path], FoundArrays]] = {
    ".mat": _read_mat,
    ".npz": _read_npz,
    ".npy": _read_npy,
}


def _beside(folder: Path) -> dict[str, NDArray[Any]]:
    """Parts of the split that lie in a folder as .npy files."""
    found: dict[str, NDArray[Any]] = {}
    for part in PARTS:
        for name in (f"{part}_loc.npy", f"{part}.npy"):
            if part not in found and (folder / name).is_file():
                found[part] = _whole(folder / name, part, open_npy(folder / name)).ravel()
    return found


def _assemble(path: Path, form: str, arrays: NamedArrays) -> FoundArrays:
    """Tell the arrays apart by their names, and check their shapes."""
    faults, texts = Faults(path), arrays.texts
    vectors: dict[str, NDArray[Any]] = {}
    tables: dict[str, NDArray[Any]] = {}
    for name, array in arrays.small.items():
        with faults.noted():
            kept, read = (tables, _matrix) if name in (*TABLES, "w2v_att") else (vectors, _vector)
            kept[name] = read(path, name, array)
    faults.warn()
    labels = _names(path, texts["labels"]) if "labels" in texts else vectors.get("labels")
    classes, attributes = (
        next((n for n in names if n in texts), None) for names in (CLASS_NAMES, ATTRIBUTE_NAMES)
    )
    spare = [name for name in texts if name not in ("labels", classes, attributes)]
    return FoundArrays(
        path,
        form,
        features=arrays.large,
        labels=labels,
        parts={part: vectors[f"{part}_loc"] for part in PARTS if f"{part}_loc" in vectors},
        tables={name: tables[name] for name in TABLES if name in tables},
        words=tables.get("w2v_att"),
        classes=None if classes is None else texts[classes],
        attributes=None if attributes is None else texts[attributes],
        unused=(*arrays.others, *spare),
        sealed=tuple(name for name in arrays.sealed if name in CLASS_NAMES),
    )


def _vector(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.size != max(array.shape, default=1):
        ones = array.ndim == 2 and bool(((array == 0) | (array == 1)).all())
        one_hot = ones and name == "labels" and bool((array.sum(1) == 1).all())
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
    """Read a whole array, within the size limit."""
    if stream.nbytes > SMALL:
        raise DataError(
            f"{path}: {name} takes {stream.nbytes / 1e6:,.0f} MB, too much for what it should be; "
            "check the file"
        )
    return stream.whole()
