"""Confusions between classes: between the seen and unseen sides, and the whole table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zslkit.evaluation.sets import AnsweredSets


def crossings(sets: AnsweredSets, gamma: float = 0.0) -> dict[str, float]:
    """Percent of "seen_as_unseen" and "unseen_as_seen": answers with a class of the other side.

    A share of images, not a mean over classes. It shows which side the model prefers; calibration
    changes it.
    """
    seen, left, right = sets.seen, sets.test_seen, sets.test_unseen
    return {
        "seen_as_unseen": 100.0 * float(np.mean(~seen[left.seen_unseen_margin.answers(gamma)])),
        "unseen_as_seen": 100.0 * float(np.mean(seen[right.seen_unseen_margin.answers(gamma)])),
    }


def confusion_table(sets: AnsweredSets, gamma: float = 0.0) -> NDArray[np.int64]:
    """Confusion matrix (C, C) of both sets: images by true class (row) and answer (column)."""
    n, parts = sets.n_classes, sets.parts().values()
    labels = np.concatenate([part.labels for part in parts])
    answers = np.concatenate([part.seen_unseen_margin.answers(gamma) for part in parts])
    return np.bincount(labels * n + answers, minlength=n * n).reshape(n, n)


def largest(table: NDArray[np.int64], count: int = 5) -> list[tuple[int, int, int]]:
    """The most frequent confusions of a table (C, C), as (true class, answer, images).

    Most images first, ties in the order of classes.
    """
    # Sparse, since most entries of a large table are zero.
    rows, columns = np.nonzero(table)
    wrong = rows != columns
    rows, columns = rows[wrong], columns[wrong]
    images = table[rows, columns]
    order = np.argsort(-images, kind="stable")[:count]
    return [(int(rows[k]), int(columns[k]), int(images[k])) for k in order]
