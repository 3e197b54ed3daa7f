"""Parsers of att_splits.mat and res101.mat, the MATLAB files of the proposed splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import PARTS, Index, Split
from zslkit.errors import DataError
from zslkit.readers.mat5 import MatFile
from zslkit.readers.stream import Stream, as_float32, numeric


@dataclass(frozen=True)
class SplitFile:
    """Contents of att_splits.mat: names if it has them, (C, A) float32 unscaled, 0-based split."""

    classes: tuple[str, ...] | None
    attributes: NDArray[np.float32]
    split: Split


@dataclass(frozen=True)
class SplitVariables:
    """Variables of att_splits.mat for inspection, unchanged except that indices are 0-based."""

    classes: tuple[str, ...] | None  # C names, None if the file has none
    tables: Mapping[str, NDArray[Any]]  # "original_att" and "att" (A, C), where present
    # "trainval", "test_seen" and "test_unseen", and "train" and "val" where present, each in the
    # order of the file
    locs: Mapping[str, Index]


@dataclass(frozen=True)
class FeatureFile:
    """Contents of res101.mat."""

    labels: Index  # (N,) 0-based row indices of the class-attribute table
    files: tuple[str, ...]  # N image paths, as on the authors' disks
    features: Stream  # Stream of (N, 2048) numbers


def read_split_file(path: Path, semantics: str = "original_att") -> SplitFile:
    """Read att_splits.mat; `semantics` is the variable with the class-attribute table (A, C).

    train_loc and val_loc are not read: some files lack them, in others they contain images of
    test_seen.

    Raises:
        DataError: Names the file that is damaged, or lacks a variable or has an invalid one.
    """
    mat = MatFile(path, "fetch it again")
    table = _table(mat, semantics).T
    classes = _classes(mat)
    if classes is not None and len(classes) != len(table):
        raise DataError(
            f"{path}: {len(classes)} class names but {len(table)} columns in {semantics}; fetch "
            "the file again"
        )
    split = Split(*(np.sort(_counts(mat, f"{part}_loc")) for part in PARTS))
    return SplitFile(classes, np.ascontiguousarray(table, dtype=np.float32), split)


def read_split_variables(path: Path) -> SplitVariables:
    """Read all variables of att_splits.mat to inspect them.

    Raises:
        DataError: The file is damaged or lacks a loc; the contents of a loc are not checked
            further.
    """
    mat = MatFile(path, "fetch it again")
    parts = [*PARTS, *(part for part in ("train", "val") if f"{part}_loc" in mat)]
    locs = {part: _counts(mat, f"{part}_loc") for part in parts}
    tables = {key: _table(mat, key) for key in ("original_att", "att") if key in mat}
    return SplitVariables(_classes(mat), tables, locs)


def read_feature_file(path: Path) -> FeatureFile:
    """Open res101.mat; the features are read on request.

    Raises:
        DataError: Names the file that is damaged or whose variables do not fit together.
    """
    mat = MatFile(path, "fetch it again")
    labels = _counts(mat, "labels")
    _need(mat, "image_files")
    files = tuple(mat.texts("image_files"))
    _need(mat, "features")
    features = mat.columns("features")
    if not len(labels) == len(files) == features.shape[0]:
        raise DataError(
            f"{path}: {features.shape[0]} features, {len(labels)} labels and {len(files)} "
            "image_files; fetch the file again"
        )
    if not features.shape[1]:
        raise DataError(f"{path}: features is no table of numbers; fetch the file again")
    return FeatureFile(labels, files, features)


def finite_float32(path: Path, name: str, block: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers as float32; raises DataError if one is not finite there."""
    kept = as_float32(block)
    if not np.isfinite(kept).all():
        raise DataError(f"{path}: {name} holds a number that is not finite; fetch the file again")
    return kept


def _classes(mat: MatFile) -> tuple[str, ...] | None:
    return tuple(mat.texts("allclasses_names")) if "allclasses_names" in mat else None


def _need(mat: MatFile, key: str) -> None:
    if key not in mat:
        raise DataError(
            f"{mat.path} holds no variable {key!r}; is it the file of the proposed splits (xlsa17)?"
        )


def _table(mat: MatFile, key: str) -> NDArray[Any]:
    _need(mat, key)
    array = mat.table(key)
    if not numeric(array.dtype) or array.size == 0:
        raise DataError(f"{mat.path}: {key} is no table of numbers; fetch the file again")
    finite_float32(mat.path, key, array)
    return array


def _counts(mat: MatFile, key: str) -> Index:
    """Read a vector of 1-based indices as 0-based."""
    array = _table(mat, key).ravel()
    if array.min() < 1 or (array != np.floor(array)).any() or array.max() > np.iinfo(np.int32).max:
        raise DataError(
            f"{mat.path}: {key} holds {array.min():g}, and counts from 1 in whole numbers; fetch "
            "the file again"
        )
    return array.astype(np.int64) - 1
