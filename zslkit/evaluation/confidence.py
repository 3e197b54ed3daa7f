"""The expected calibration error (Naeini et al. 2015; Guo et al. 2017): is confidence accuracy?

The confidence of an answer is its softmax of the calibrated scores over all classes. If every row
of both tables is non-negative and sums to 1, the scores are probabilities, and the confidence is
the answered class's own value, since a softmax would flatten it; gamma then changes answers only.

This calibration of confidences is not the gamma of calibrated stacking.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from zslkit.evaluation.chunks import row_chunks
from zslkit.evaluation.metrics import Floats, Mask, ScoreTable
from zslkit.evaluation.sets import TestSet, TestSets

BINS: Final = 15
ROUNDING: Final = 1e-3
"""Largest deviation of a row's sum from 1, for float16 probabilities."""


def expected_calibration_error(sets: TestSets, gamma: float = 0.0) -> dict[str, float]:
    """The error in percent of "both", "test_seen" and "test_unseen".

    Images fall into intervals of confidence of equal width, open below. The error is the mean over
    images of |accuracy - mean confidence| of the image's interval. All images have equal weight,
    whatever the size of their class.
    """
    probable = all(are_probabilities(part.scores) for part in sets.parts().values())
    found = {name: _judged(part, sets.seen, gamma, probable) for name, part in sets.parts().items()}
    confidences, rights = zip(*found.values(), strict=True)
    found = {"both": (np.concatenate(confidences), np.concatenate(rights)), **found}
    return {name: 100.0 * binned_error(*values) for name, values in found.items()}


def are_probabilities(scores: ScoreTable) -> bool:
    """Whether every row of scores (N, C) is non-negative and sums to 1, up to rounding."""
    return all(
        (chunk >= 0).all() and (np.abs(chunk.sum(axis=1, dtype=np.float64) - 1) <= ROUNDING).all()
        for _, chunk in row_chunks(scores)
    )


def binned_error(confidence: Floats, right: Floats, bins: int = BINS) -> float:
    """The error (0..1) of confidences (N,) in 0..1 with answers right (1) or wrong (0)."""
    bins_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rights, sums = (np.bincount(bins_of, values, minlength=bins) for values in (right, confidence))
    return float(np.abs(rights - sums).sum() / len(confidence))


def _judged(part: TestSet, seen: Mask, gamma: float, probable: bool) -> tuple[Floats, Floats]:
    """Confidence (N,) of each answer, and whether it is right (1.0) or wrong (0.0)."""
    answers = part.seen_unseen_margin.answers(gamma)
    right = (answers == part.labels).astype(np.float64)
    chunks = row_chunks(part.scores)
    if probable:
        own = [chunk[np.arange(len(chunk)), answers[place]] for place, chunk in chunks]
        return np.concatenate(own).astype(np.float64), right
    return np.concatenate([_share_of_highest(chunk, seen, gamma) for _, chunk in chunks]), right


def _share_of_highest(scores: ScoreTable, seen: Mask, gamma: float) -> Floats:
    """Softmax (n,) of the highest calibrated score of each row of scores (n, C)."""
    scores = scores.astype(np.float64)
    if np.isinf(gamma):  # only one side can be answered
        scores[:, seen if gamma > 0 else ~seen] = -np.inf
    else:
        scores[:, ~seen] += gamma
    scores -= scores.max(axis=1, keepdims=True)
    share: Floats = 1.0 / np.exp(scores, out=scores).sum(axis=1)
    return share
