"""Reads score tables in chunks of rows, so that metrics need no second table in memory.

A table may be memory-mapped and larger than memory; every metric reads it through this module.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

AT_ONCE: Final = 1 << 20
"""Scores per chunk, 8 MB as float64; a row is never split."""


def row_chunks(
    scores: NDArray[Any], at_once: int | None = None
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The positions and rows (n, C) of a score table (N, C) in chunks of `at_once` scores.

    The pages of a memory-mapped table are released after each chunk, so that they do not count as
    memory of the process; the system caches them while it has room.
    """
    step = max(1, (at_once or AT_ONCE) // max(1, scores.shape[1]))
    mapping = _mapping(scores)
    for start in range(0, len(scores), step):
        place = slice(start, min(start + step, len(scores)))
        # A table in a file may start at any byte, and arithmetic on unaligned numbers is slow.
        yield place, np.require(scores[place], requirements="A")
        if mapping is not None:
            mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The read-only file mapping of the array, else None; released pages of it can be reread."""
    if array.flags.writeable or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    holder: object = array
    while isinstance(holder, np.ndarray):
        holder = holder.base
    return holder if isinstance(holder, mmap.mmap) else None
