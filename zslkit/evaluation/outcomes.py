"""Which test images a model answers right: the input of bootstrap intervals and paired tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zslkit.errors import DataError
from zslkit.evaluation.metrics import Index, Mask
from zslkit.evaluation.sets import AnsweredSets

SAMPLED = ("T1", "U", "S", "H")
"""Figures with bootstrap intervals; the area is not a mean over images."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Right answers of R runs on the same test images.

    Attributes:
        seen_labels: (Ns,) class ids.
        unseen_labels: (Nu,) class ids.
        S: (Ns, R) bool, right among all classes under each run's gamma.
        U: (Nu, R) bool, likewise.
        T1: (Nu, R) bool, right among unseen classes.
    """

    seen_labels: Index
    unseen_labels: Index
    S: Mask
    U: Mask
    T1: Mask

    @property
    def runs(self) -> int:
        """Number of runs R."""
        return int(self.S.shape[1])


def outcomes(sets: AnsweredSets, gamma: float) -> Outcomes:
    """The right answers of one run under its gamma."""
    left, right = sets.test_seen, sets.test_unseen
    return Outcomes(
        left.labels,
        right.labels,
        (left.seen_unseen_margin.answers(gamma) == left.labels)[:, None],
        (right.seen_unseen_margin.answers(gamma) == right.labels)[:, None],
        (right.seen_unseen_margin.best_unseen == right.labels)[:, None],
    )


def together(parts: list[Outcomes]) -> Outcomes:
    """Join several runs; DataError unless they have the same test labels in the same order."""
    first = parts[0]
    if not all(same_images(first, part) for part in parts[1:]):
        raise DataError(
            "The runs were tested on different images, so they cannot be paired; "
            "compare runs of one split"
        )
    joined = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("S", "U", "T1")
    )
    return Outcomes(first.seen_labels, first.unseen_labels, *joined)


def same_images(a: Outcomes, b: Outcomes) -> bool:
    """Whether the labels of both test sets agree, image by image."""
    return np.array_equal(a.seen_labels, b.seen_labels) and np.array_equal(
        a.unseen_labels, b.unseen_labels
    )
