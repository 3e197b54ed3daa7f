"""Tables of scores a few rows at a time, so that what is computed from one needs no second table beside it.

A table may lie in a mapped file and be larger than memory; every metric reads it through here.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

AT_ONCE: Final = 1 << 20
"""Scores that are looked at at a time: 8 MB of them as float64. A row is never cut."""


def row_chunks(
    scores: NDArray[Any], at_once: int | None = None
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The rows of scores (N, C), in order, as (their place, the rows (n, C)); at_once: how many scores, by default AT_ONCE.

    Of a mapped table no more than these rows count as memory of the process: what was looked at is given back to the system,
    which keeps it while it has room.
    """
    step = max(1, (at_once or AT_ONCE) // max(1, scores.shape[1]))
    mapping = _mapping(scores)
    for start in range(0, len(scores), step):
        place = slice(start, min(start + step, len(scores)))
        # A table inside a file may begin at any byte, and arithmetic on numbers that straddle words is slow.
        yield place, np.require(scores[place], requirements="A")
        if mapping is not None:
            mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The file's mapping that the array lies in, if it can only be read: then pages that are let go come back as they were."""
    if array.flags.writeable or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    holder: object = array
    while isinstance(holder, np.ndarray):
        holder = holder.base
    return holder if isinstance(holder, mmap.mmap) else None
