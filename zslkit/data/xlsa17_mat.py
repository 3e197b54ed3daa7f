"""The two MATLAB files of the proposed splits (Xian et al. 2018), att_splits.mat and res101.mat, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Index, Split
from zslkit.errors import DataError


@dataclass(frozen=True)
class SplitFile:
    """att_splits.mat: classes, C names or None; attributes (C, A) float32, unscaled; split, 0-based image indices."""

    classes: tuple[str, ...] | None
    attributes: NDArray[np.float32]
    split: Split


@dataclass(frozen=True)
class SplitVariables:
    """att_splits.mat as it stands, only counted from 0: what a reader who wants to use it would tidy or refuse is still there.

    locs: "trainval", "test_seen", "test_unseen", and "train" and "val" where the file has them, in the file's order.
    tables: "original_att" and "att" (A, C), those that the file has. classes: C names or None.
    """

    classes: tuple[str, ...] | None
    tables: Mapping[str, NDArray[Any]]
    locs: Mapping[str, Index]


@dataclass(frozen=True)
class FeatureFile:
    """res101.mat: labels (N,), 0-based rows of the class-attribute table; files, N paths as on the makers' disks;
    features (N, 2048) float32.
    """

    labels: Index
    files: tuple[str, ...]
    features: NDArray[np.float32]


def read_split_file(path: Path, semantics: str = "original_att") -> SplitFile:
    """Read att_splits.mat. semantics: the variable that holds the class-attribute table, (A, C) there.

    train_loc and val_loc are not read: some files lack them, and elsewhere they hold images of test_seen.
    Raises DataError that names the file if it is damaged or a variable is missing or not what it should be.
    """
    parts = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
    mat = _read(path, (semantics, "allclasses_names", *parts))
    table = _numbers(path, mat, semantics, 2).T
    classes = _texts(path, mat, "allclasses_names") if "allclasses_names" in mat else None
    if classes is not None and len(classes) != len(table):
        raise DataError(f"{path}: {len(classes)} class names but {len(table)} columns in {semantics}; fetch the file again")
    split = Split(*(np.sort(_counts(path, mat, part)) for part in parts))
    return SplitFile(classes, np.ascontiguousarray(table, dtype=np.float32), split)


def read_split_variables(path: Path) -> SplitVariables:
    """All of att_splits.mat, for looking at it. Raises DataError for a damaged file or a missing loc, not for one that is wrong."""
    parts = ("trainval", "test_seen", "test_unseen")
    more = ("train", "val")
    mat = _read(path, ("original_att", "att", "allclasses_names", *(f"{part}_loc" for part in (*parts, *more))))
    locs = {part: _counts(path, mat, f"{part}_loc") for part in (*parts, *more) if part in parts or f"{part}_loc" in mat}
    tables: dict[str, NDArray[Any]] = {key: _numbers(path, mat, key, 2) for key in ("original_att", "att") if key in mat}
    return SplitVariables(_texts(path, mat, "allclasses_names") if "allclasses_names" in mat else None, tables, locs)


def read_feature_file(path: Path) -> FeatureFile:
    """Read res101.mat. Raises DataError that names the file if it is damaged or its variables do not fit together."""
    mat = _read(path, ("features", "labels", "image_files"))
    labels = _counts(path, mat, "labels")
    files = _texts(path, mat, "image_files")
    features = np.ascontiguousarray(_numbers(path, mat, "features", 2).T, dtype=np.float32)
    if not len(labels) == len(files) == len(features):
        raise DataError(f"{path}: {len(features)} features, {len(labels)} labels and {len(files)} image_files; fetch the file again")
    return FeatureFile(labels, files, features)


def _read(path: Path, variables: Sequence[str]) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        mat: dict[str, Any] = loadmat(path, variable_names=list(variables), appendmat=False)
    except NotImplementedError as error:
        raise DataError(f"{path} is a MATLAB file of version 7.3; save it with -v7") from error
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is no whole MATLAB file ({reason}); fetch it again") from error
    return mat


def _numbers(path: Path, mat: dict[str, Any], key: str, rank: int) -> NDArray[Any]:
    if key not in mat:
        raise DataError(f"{path} holds no variable {key!r}; is it the file of the proposed splits (xlsa17)?")
    array = mat[key]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or array.ndim != rank or array.size == 0:
        raise DataError(f"{path}: {key} is no table of numbers; fetch the file again")
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32)).all()  # what is kept is float32
    if not finite:
        raise DataError(f"{path}: {key} holds a number that is not finite; fetch the file again")
    return array


def _counts(path: Path, mat: dict[str, Any], key: str) -> Index:
    """A vector of 1-based numbers, made 0-based."""
    array = _numbers(path, mat, key, 2).ravel()
    if array.min() < 1 or (array != np.floor(array)).any() or array.max() > np.iinfo(np.int32).max:
        raise DataError(f"{path}: {key} holds {array.min():g}, and counts from 1 in whole numbers; fetch the file again")
    return array.astype(np.int64) - 1


def _texts(path: Path, mat: dict[str, Any], key: str) -> tuple[str, ...]:
    """A cell array of texts."""
    if key not in mat:
        raise DataError(f"{path} holds no variable {key!r}; is it the file of the proposed splits (xlsa17)?")
    texts: list[str] = []
    for cell in np.ravel(mat[key]):
        text = cell
        while isinstance(text, np.ndarray) and text.size == 1:
            text = text.reshape(-1)[0]
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}: {key} holds something that is no text at place {len(texts) + 1}; fetch the file again")
        texts.append(str(text).strip())
    return tuple(texts)
