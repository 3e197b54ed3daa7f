"""Which classes are taken for which: images that cross between seen and unseen, and the whole table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zslkit.evaluation.sets import AnsweredSets


def crossings(sets: AnsweredSets, gamma: float = 0.0) -> dict[str, float]:
    """Percent of the images of seen classes that got an unseen class for an answer ("seen_as_unseen"), and the other way round.

    A share of images and no mean over classes: it says on which side the model leans, and calibration moves it.
    """
    seen, left, right = sets.seen, sets.test_seen, sets.test_unseen
    return {
        "seen_as_unseen": 100.0 * float(np.mean(~seen[left.seen_unseen_margin.answers(gamma)])),
        "unseen_as_seen": 100.0 * float(np.mean(seen[right.seen_unseen_margin.answers(gamma)])),
    }


def confusion_table(sets: AnsweredSets, gamma: float = 0.0) -> NDArray[np.int64]:
    """(C, C) counts of images of both sets; row: true class, column: answer. A class without test images has a row of zeros."""
    n = sets.n_classes
    labels = np.concatenate([part.labels for part in sets.parts().values()])
    answers = np.concatenate(
        [part.seen_unseen_margin.answers(gamma) for part in sets.parts().values()]
    )
    return np.bincount(labels * n + answers, minlength=n * n).reshape(n, n)


def largest(table: NDArray[np.int64], count: int = 5) -> list[tuple[int, int, int]]:
    """The most frequent confusions of a table (C, C) as (true class, answer, images), equal ones in the order of their classes."""
    # Almost all of a large table is empty: what stands in it is at most as much as there are images.
    rows, columns = np.nonzero(table)
    wrong = rows != columns
    rows, columns = rows[wrong], columns[wrong]
    images = table[rows, columns]
    order = np.argsort(-images, kind="stable")[:count]
    return [(int(rows[k]), int(columns[k]), int(images[k])) for k in order]
