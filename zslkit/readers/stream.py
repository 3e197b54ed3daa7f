"""Tables of numbers read in blocks of rows, and the size limits for every file of numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.utils.files import check_permitted

BLOCK = 64 << 20
"""Bytes of a table in memory at once."""

SMALL = 256 << 20
"""Bytes up to which a table may be read whole (labels, splits, class attributes)."""

TEXTS = 16 << 20
"""Bytes of the names of classes or attributes; 20,000 names of 60 letters need a third."""

BOMB_RATIO = 200
"""Highest compression ratio accepted; features compress by a small factor only."""

BOMB_FLOOR = 64 << 20
"""Bytes up to which any compression ratio is accepted, since labels compress well."""


@dataclass(frozen=True)
class Stream:
    """A table of numbers, rows first.

    `blocks` begins anew to iterate over arrays (n, ...) that together form the table; the iterator
    raises DataError if the file is damaged.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[NDArray[Any]]]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def whole(self) -> NDArray[Any]:
        """Read the whole table into memory; for small tables."""
        parts = list(self.blocks())
        return np.concatenate(parts) if parts else np.zeros(self.shape, self.dtype)


def rows_per_block(shape: Sequence[int], itemsize: int) -> int:
    """Number of rows in a block."""
    return max(1, BLOCK // max(1, math.prod(shape[1:]) * itemsize))


def refuse_bomb(path: Path, name: str, nbytes: int, stored: int) -> None:
    """Raise DataError unless `nbytes` in memory are plausible for `stored` bytes in the file."""
    if nbytes > BOMB_FLOOR and nbytes > BOMB_RATIO * stored:
        raise DataError(
            f"{path}: {name} claims {nbytes / 1e6:,.0f} MB and the file holds {stored / 1e6:,.3g} "
            "MB of it; no features shrink that much, so make the file again"
        )


def numeric(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is a plain number of a width that every machine supports."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.subdtype is None


def as_float32(numbers: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers as contiguous float32; larger ones become infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(numbers, dtype=np.float32)


def file_digest(path: Path) -> str:
    """sha256 of the content of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def existing(path: Path, what: str) -> Path:
    """Return `path` if it is a file; `what` describes the file in errors.

    Raises:
        DataError: Names the path that is missing, not a file, or not readable by this user.
    """
    check_permitted(path)
    if not path.exists():
        raise DataError(f"There is no {what} {path}; check the path")
    if not path.is_file():
        raise DataError(f"{path} is no file; name the {what} itself")
    return path
