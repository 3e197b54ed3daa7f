"""The attribute scores of both test sets, kept with a run as `attributes.npz`.

Only the order of the images by one attribute is used, so the scores are kept unrounded as float32.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from zslkit.errors import DataError
from zslkit.evaluation.attributes import AttributeScores
from zslkit.runs.scores import UNREADABLE, put, take
from zslkit.utils.files import check_permitted, need_plain

_CLIPPED: Final = 60_000.0
"""Older files hold clipped float16 values, in a unit of each attribute; a magnitude of at least
this marks a clipped score."""
_TYPES: dict[str, tuple[Any, int]] = {
    "test_seen": (np.floating, 2),
    "test_unseen": (np.floating, 2),
    "present": (np.bool_, 2),
    "names": (np.str_, 1),
}
_SHOWN = {"shown_seen": "test_seen", "shown_unseen": "test_unseen"}
"""Optional array -> the array of the same shape."""


def write_attributes(scores: AttributeScores, file: IO[bytes]) -> None:
    """Write an archive that `read_attributes` reads."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in (*_TYPES, *_SHOWN):
            if (array := getattr(scores, name)) is not None:
                put(archive, name, np.asarray(array))


def read_attributes(path: Path) -> AttributeScores | None:
    """Read an `attributes.npz`; None if there is no such file.

    Attributes that an older file holds clipped have lost their order and become NaN.

    Raises:
        DataError: The file is damaged or does not fit; names the next step.
    """
    mend = f"remove it to do without, or move the folder {path.parent} away and run again"
    check_permitted(path)
    if not path.exists():
        return None
    try:
        need_plain(path)
        with zipfile.ZipFile(path) as archive:
            also = [name for name in _SHOWN if f"{name}.npy" in archive.namelist()]
            arrays: dict[str, Any] = {name: take(archive, name) for name in (*_TYPES, *also)}
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}; {mend}") from error
    except UNREADABLE as error:
        raise DataError(f"{path} is cut off or damaged ({error}); {mend}") from error
    for name, (dtype, dimensions) in _TYPES.items():
        array = arrays[name]
        if (
            not np.issubdtype(array.dtype, dtype)
            or array.ndim != dimensions
            or array.shape[-1] != len(arrays["names"])
        ):
            raise DataError(
                f"{path}: {name} is {array.dtype} of shape {array.shape} "
                f"for {len(arrays['names'])} attributes; {mend}"
            )
    for name, like in _SHOWN.items():
        shown = arrays.get(name)
        if shown is not None and (shown.dtype != np.int8 or shown.shape != arrays[like].shape):
            raise DataError(
                f"{path}: {name} is {shown.dtype} of shape {shown.shape} and {like} of "
                f"{arrays[like].shape}; {mend}"
            )
    parts = [arrays["test_seen"], arrays["test_unseen"]]
    if all(part.dtype == np.float16 for part in parts):
        lost = np.logical_or.reduce([(np.abs(part) >= _CLIPPED).any(axis=0) for part in parts])
        for part in parts:
            part[:, lost] = np.nan
    return AttributeScores(**{**arrays, "names": tuple(arrays["names"].tolist())})
