"""Which images a model answered right: what sampling of the test sets and paired tests are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zslkit.errors import DataError
from zslkit.evaluation.metrics import Index, Mask
from zslkit.evaluation.sets import AnsweredSets

SAMPLED = ("T1", "U", "S", "H")
"""The figures whose test sampling is known here: all but the area, which is no mean over images."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Right answers of R runs on the same test images.

    seen_labels (Ns,), unseen_labels (Nu,): class ids. S (Ns, R), U (Nu, R) bool: right among all classes under each
    run's gamma; T1 (Nu, R): right among the unseen classes.
    """

    seen_labels: Index
    unseen_labels: Index
    S: Mask
    U: Mask
    T1: Mask

    @property
    def runs(self) -> int:
        return int(self.S.shape[1])


def outcomes(sets: AnsweredSets, gamma: float) -> Outcomes:
    """The outcomes of one run under its gamma."""
    left, right = sets.test_seen, sets.test_unseen
    return Outcomes(
        left.labels,
        right.labels,
        (left.seen_unseen_margin.answers(gamma) == left.labels)[:, None],
        (right.seen_unseen_margin.answers(gamma) == right.labels)[:, None],
        (right.seen_unseen_margin.best_unseen == right.labels)[:, None],
    )


def together(parts: list[Outcomes]) -> Outcomes:
    """Several runs as one. Raises DataError unless all saw the same test images in the same order, by their labels."""
    first = parts[0]
    if not all(same_images(first, part) for part in parts[1:]):
        raise DataError(
            "The runs were tested on different images, so they cannot be paired; compare runs of one split"
        )
    joined = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("S", "U", "T1")
    )
    return Outcomes(first.seen_labels, first.unseen_labels, *joined)


def same_images(a: Outcomes, b: Outcomes) -> bool:
    """Whether the labels of both test sets agree, image for image."""
    return np.array_equal(a.seen_labels, b.seen_labels) and np.array_equal(
        a.unseen_labels, b.unseen_labels
    )
