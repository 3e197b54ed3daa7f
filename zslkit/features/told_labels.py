"""Detection of features that hold the labels, such as a column of labels saved with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WAYS = 3
"""Values of a column, each of one or several classes, from which on it is no chance."""


class LabelColumns:
    """Finds columns that are equal in all images of a class and differ between classes.

    Such columns tell the labels of the test images too. Columns of two values count where there are
    as many as half of the classes, as in labels written one-hot.

    Args:
        labels: (N,) class ids; -1 for images of no class.
    """

    def __init__(self, labels: NDArray[np.int64]) -> None:
        counts = np.bincount(labels[labels >= 0]) if (labels >= 0).any() else np.zeros(1, int)
        self._several = counts > 1
        self._labels = labels
        self._first: NDArray[np.float32] | None = None
        self._known = np.zeros(len(counts), dtype=bool)
        self._level: NDArray[np.bool_] | None = None
        self._at = 0

    def add(self, block: NDArray[np.float32]) -> None:
        """Examine the features (n, D) of the next images."""
        labels = self._labels[self._at : self._at + len(block)]
        self._at += len(block)
        if self._level is None:
            self._level = np.ones(block.shape[1], dtype=bool)
            self._first = np.zeros((len(self._known), block.shape[1]), dtype=np.float32)
        if not self._level.any():
            return
        assert self._first is not None
        own = labels >= 0
        labels, block = labels[own], block[own]
        new, place = np.unique(labels, return_index=True)
        fresh = ~self._known[new]
        self._first[new[fresh]] = block[place[fresh]]
        self._known[new] = True
        self._level &= (block == self._first[labels]).all(axis=0)

    def columns(self) -> list[int]:
        """The columns, counted from 0."""
        if self._level is None or self._first is None:
            return []
        told = self._first[self._known & self._several]
        level = np.flatnonzero(self._level)
        ways = [len(np.unique(told[:, column])) for column in level.tolist()]
        sure = [k for k, count in zip(level.tolist(), ways, strict=True) if count >= _WAYS]
        paired = [k for k, count in zip(level.tolist(), ways, strict=True) if count == 2]
        return sorted([*sure, *(paired if len(paired) >= max(2, len(told) / 2) else [])])

    def fault(self) -> str:
        """What is wrong, as the rest of a sentence about the features; "" if nothing is."""
        if not (columns := self.columns()):
            return ""
        assert self._level is not None
        shown = ", ".join(map(str, columns[:5])) + (", ..." if len(columns) > 5 else "")
        return (
            f"{len(columns)} of {len(self._level)} features (column {shown}, counted from 0) are "
            "equal in all images of a class and differ between classes, so they tell the labels of "
            "test images too; leave labels and class attributes out of the features"
        )
