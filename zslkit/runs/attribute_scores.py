"""The attribute scores of both test sets, kept with a run as `attributes.npz`.

Only the order of the images by one attribute is used, so the scores are kept unrounded as float32.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.runs.scores import LONGEST_HEADER, UNREADABLE, put
from zslkit.utils.files import check_permitted, need_plain

_CLIPPED: Final = 60_000.0
"""Older files hold clipped float16 values; a magnitude of at least this marks a clipped score."""
_TYPES: dict[str, tuple[Any, int]] = {
    "test_seen": (np.floating, 2),
    "test_unseen": (np.floating, 2),
    "present": (np.bool_, 2),
    "names": (np.str_, 1),
}

_SHOWN = {"shown_seen": "test_seen", "shown_unseen": "test_unseen"}
"""Optional array -> the array of the same shape."""


@dataclass(frozen=True, eq=False)
class KeptAttributes:
    """Attribute scores of the test images.

    Attributes:
        test_seen: (Ns, A) float32, the model's score of each image; NaN where it gives none.
            Older runs hold float16 in a unit of each attribute.
        test_unseen: (Nu, A), likewise.
        present: (C, A) bool, whether a class has an attribute.
        names: Names of the A attributes.
        shown_seen: (Ns, A) int8, whether the image itself shows an attribute: 1, 0, or -1 where
            unknown; None if only attributes of classes are known.
        shown_unseen: (Nu, A), likewise.
    """

    test_seen: NDArray[np.floating[Any]]
    test_unseen: NDArray[np.floating[Any]]
    present: NDArray[np.bool_]
    names: tuple[str, ...]
    shown_seen: NDArray[np.int8] | None = None
    shown_unseen: NDArray[np.int8] | None = None

    def write(self, file: IO[bytes]) -> None:
        """Write an archive that `read_attributes` reads."""
        with zipfile.ZipFile(file, "w") as archive:
            for name in (*_TYPES, *_SHOWN):
                if (array := getattr(self, name)) is not None:
                    put(archive, name, np.asarray(array))


def pack(
    test_seen: Iterable[NDArray[np.float32]],
    test_unseen: Iterable[NDArray[np.float32]],
    present: NDArray[np.bool_],
    names: tuple[str, ...],
    shown: tuple[NDArray[np.int8], NDArray[np.int8]] | None = None,
) -> KeptAttributes:
    """Concatenate attribute scores that come in batches (B, A) float32.

    Args:
        shown: What the images of both sets show, if that is known.
    """
    none = np.empty((0, len(names)), dtype=np.float32)
    seen, unseen = (np.concatenate([none, *batches]) for batches in (test_seen, test_unseen))
    return KeptAttributes(seen, unseen, present, names, *(shown or ()))


def read_attributes(path: Path) -> KeptAttributes | None:
    """Read an `attributes.npz`.

    Attributes that an older file holds clipped have lost their order and become NaN.

    Returns:
        The attribute scores, None if there is no such file.

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
            arrays: dict[str, Any] = {name: _array(archive, name) for name in (*_TYPES, *also)}
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
    return KeptAttributes(**{**arrays, "names": tuple(arrays["names"].tolist())})


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(
            member, allow_pickle=False, max_header_size=LONGEST_HEADER
        )
        return array
