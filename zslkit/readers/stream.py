"""Tables of numbers too large for memory, read in blocks of rows, and the rules that every file of them must keep."""

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
"""Bytes of a table that are in memory at once."""

SMALL = 256 << 20
"""Bytes up to which a table may be read whole (labels, splits, class attributes)."""

TEXTS = 16 << 20
"""Bytes of the names of classes or attributes: 20,000 names of 60 letters take a third of it."""

BOMB_RATIO = 200
"""Features shrink a few times when they are compressed; what claims to unfold so many times is no file of features."""

BOMB_FLOOR = 64 << 20
"""Below so many bytes a table may be as compressible as it likes: labels are."""


@dataclass(frozen=True)
class Stream:
    """A table of numbers, rows first. blocks: an iterator over arrays (n, ...) that together are the table, made anew by each call.

    It raises DataError where the file turns out to be damaged.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[NDArray[Any]]]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def whole(self) -> NDArray[Any]:
        """The table in memory; for small ones."""
        parts = list(self.blocks())
        return np.concatenate(parts) if parts else np.zeros(self.shape, self.dtype)


def rows_per_block(shape: Sequence[int], itemsize: int) -> int:
    """How many rows fill a block."""
    return max(1, BLOCK // max(1, math.prod(shape[1:]) * itemsize))


def refuse_bomb(path: Path, name: str, nbytes: int, stored: int) -> None:
    """Raises DataError if `nbytes` in memory cannot honestly come out of `stored` bytes of a file."""
    if nbytes > BOMB_FLOOR and nbytes > BOMB_RATIO * stored:
        raise DataError(
            f"{path}: {name} claims {nbytes / 1e6:,.0f} MB and the file holds {stored / 1e6:,.3g} MB of it; "
            "no features shrink that much, so make the file again"
        )


def numeric(dtype: np.dtype[Any]) -> bool:
    """Whether these are plain numbers of a width that every machine knows."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.subdtype is None


def file_digest(path: Path) -> str:
    """sha256 of a file's content, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def existing(path: Path, what: str) -> Path:
    """The path itself if it is a file. Raises DataError that names it."""
    check_permitted(path)
    if not path.exists():
        raise DataError(f"There is no {what} {path}; check the path")
    if not path.is_file():
        raise DataError(f"{path} is no file; name the {what} itself")
    return path
