"""Class names and semantics, kept with a run so that its model predicts without the dataset.

The file holds plain arrays (`numpy.load` reads it): class names, which are seen, and semantics.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Dataset
from zslkit.errors import DataError
from zslkit.runs.folders import Run
from zslkit.runs.scores import UNREADABLE, put, take
from zslkit.semantics import Semantics
from zslkit.utils.files import check_permitted, parse_json, replacing

FILE = "semantics.npz"

_PARTS = {
    "classes": ("U", 1),
    "seen": ("b", 1),
    "attributes": ("f", 2),
    "names": ("U", 1),
    "groups": ("U", 0),
    "kind": ("U", 0),
}
"""Array name -> `dtype.kind` and number of dimensions."""
_WORDS = "word_vectors"
"""An optional array; not every dataset has word vectors."""


@dataclass(frozen=True, eq=False)
class ClassInfo:
    """Classes, which of them are seen (C,) bool, and semantics of a dataset."""

    name: str
    classes: tuple[str, ...]
    seen: NDArray[np.bool_]
    semantics: Semantics


def save(path: Path, dataset: Dataset) -> None:
    """Write class names and semantics of a dataset to `path`, atomically."""
    semantics = dataset.semantics
    groups = {name: list(columns) for name, columns in semantics.groups.items()}
    arrays: dict[str, NDArray[Any]] = {
        "classes": np.array(dataset.classes, dtype=np.str_),
        "seen": dataset.seen,
        "attributes": semantics.attributes,
        "names": np.array(semantics.names, dtype=np.str_),
        "groups": np.array(json.dumps(groups)),
        "kind": np.array(semantics.kind),
    }
    if semantics.word_vectors is not None:
        arrays[_WORDS] = semantics.word_vectors
    with replacing(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name, array in arrays.items():
            put(archive, name, array)


def read(run: Run) -> ClassInfo | None:
    """Read the classes and semantics of a run; None if the run is older than this file.

    Raises:
        DataError: The file is damaged or does not belong to the run.
    """
    path, record = run.folder / FILE, run.record
    mend = "move it away, and the classes are read from the dataset instead"
    check_permitted(path)
    if not path.exists():
        return None
    try:
        arrays = _arrays(path)
        semantics = _semantics(arrays)
    except (*UNREADABLE, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is cut off or damaged ({' '.join(str(error).split())}); {mend}"
        ) from error
    except DataError as error:
        raise DataError(f"{path}: {error}; {mend}") from error
    classes, seen = tuple(arrays["classes"].tolist()), arrays["seen"]
    if (
        classes != tuple(record.per_class)
        or not len(seen) == len(classes) == len(semantics.attributes)
        or int(seen.sum()) != record.dataset.seen
        or semantics.fingerprint() != record.fingerprints.semantics
    ):
        raise DataError(
            f"{path} does not hold the classes and semantics "
            f"that {run.folder} was made with; {mend}"
        )
    return ClassInfo(record.dataset.name, classes, seen, semantics)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read and check the arrays; raises one of `UNREADABLE` for any other file."""
    if not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        names = [*_PARTS, *([_WORDS] if f"{_WORDS}.npy" in archive.namelist() else [])]
        arrays = {name: _array(file, archive, name) for name in names}
    for name, array in arrays.items():
        if (array.dtype.kind, array.ndim) != _PARTS.get(name, ("f", 2)):
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
    return arrays


def _array(file: IO[bytes], archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    # `save` does not compress, so a member is never larger than the file (no zip bomb).
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > os.fstat(file.fileno()).st_size:
        raise ValueError(f"{name} is packed or ends behind the end of the file")
    return take(archive, name)


def _semantics(arrays: dict[str, NDArray[Any]]) -> Semantics:
    groups = {
        str(name): tuple(map(int, columns))
        for name, columns in parse_json(str(arrays["groups"])).items()
    }
    words = arrays[_WORDS].astype(np.float32) if _WORDS in arrays else None
    table, names = arrays["attributes"].astype(np.float32), tuple(arrays["names"].tolist())
    return Semantics(table, names, groups, words, str(arrays["kind"]))
