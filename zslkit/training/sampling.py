"""Which images stand in a batch: a function of seed and epoch alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import members_of

Index = NDArray[np.int64]


def batches(
    labels: Index,
    how: Literal["uniform", "balanced"],
    batch_size: int,
    steps: int | None,
    seed: int,
    epoch: int,
) -> Iterator[Index]:
    """The index batches of one epoch.

    labels (N,) class ids. uniform: without replacement, in a new order every time all were seen; balanced:
    batch_size distinct classes at random (all of them if there are fewer), one image each. steps: None for N // batch_size, at least 1.
    """
    rng = np.random.default_rng([seed, epoch])
    steps = steps or max(1, len(labels) // batch_size)
    if how == "balanced":
        classes, numbered = np.unique(labels, return_inverse=True)
        members = members_of(numbered, len(classes))
        size = min(batch_size, len(classes))
        for _ in range(steps):
            chosen = rng.choice(len(classes), size=size, replace=False)
            yield np.array([members[k][rng.integers(len(members[k]))] for k in chosen])
        return
    size = min(batch_size, len(labels))
    order = rng.permutation(len(labels))
    at = 0
    for _ in range(steps):
        if at + size > len(order):
            order, at = rng.permutation(len(labels)), 0
        yield order[at : at + size]
        at += size
