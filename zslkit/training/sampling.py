"""Draws the images of each batch from seed and epoch alone, so that a resumed run repeats them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from zslkit.dataset import Index, members_of


def batches(
    labels: Index,
    how: Literal["uniform", "balanced"],
    batch_size: int,
    steps: int | None,
    seed: int,
    epoch: int,
    images_per_class: int = 1,
) -> Iterator[Index]:
    """The batches of one epoch, as indices.

    Args:
        labels: (N,) class ids.
        how: "uniform" draws without replacement, in a new order whenever all images are used;
            "balanced" draws batch_size / images_per_class distinct classes (all, if there are
            fewer) and images of each.
        steps: Number of batches; None for N // batch_size, at least 1.
        images_per_class: With "balanced", images of each class, side by side in the batch. They
            are distinct, unless the class has fewer.
    """
    rng = np.random.default_rng([seed, epoch])
    steps = steps or max(1, len(labels) // batch_size)
    if how == "balanced":
        classes, numbered = np.unique(labels, return_inverse=True)
        members = members_of(numbered, len(classes))
        size = min(batch_size // images_per_class, len(classes))
        for _ in range(steps):
            chosen = rng.choice(len(classes), size=size, replace=False)
            yield np.concatenate([_some(members[k], images_per_class, rng) for k in chosen])
        return
    size = min(batch_size, len(labels))
    order = rng.permutation(len(labels))
    position = 0
    for _ in range(steps):
        if position + size > len(order):
            order, position = rng.permutation(len(labels)), 0
        yield order[position : position + size]
        position += size


def _some(members: Index, count: int, rng: np.random.Generator) -> Index:
    """Draw images of one class, distinct as long as there are any."""
    if count == 1:  # the same numbers as before there could be several
        return members[[rng.integers(len(members))]]
    rounds = -(-count // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]
