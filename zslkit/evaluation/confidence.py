"""Is a model right as often as it is sure? The expected calibration error (Naeini et al. 2015; Guo et al. 2017).

The confidence of an answer is its share in the softmax of the calibrated scores, over all classes. Where every row of
both tables is non-negative and sums to 1, the scores are probabilities already: a softmax would flatten them, and the
confidence is the answered class's own value; gamma then decides the answer and leaves the value alone.

This calibration is that of confidences. The gamma of calibrated stacking is another thing by the same name.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from zslkit.evaluation.chunks import row_chunks
from zslkit.evaluation.metrics import Floats, Mask, ScoreTable
from zslkit.evaluation.sets import TestSet, TestSets

BINS: Final = 15
ROUNDING: Final = 1e-3
"""How far a row of float16 probabilities may be from a sum of 1."""


def expected_calibration_error(
    sets: TestSets, gamma: float = 0.0, bins: int = BINS
) -> dict[str, float]:
    """The error in percent over the images of both sets ("both") and of each ("test_seen", "test_unseen").

    Images fall into `bins` intervals of confidence of equal width, open below; the error is the mean over images of
    |share of right answers - mean confidence| of an image's bin. Images count alike, whatever the size of their class.
    """
    probable = all(are_probabilities(part.scores) for part in sets.parts().values())
    found = {name: _judged(part, sets.seen, gamma, probable) for name, part in sets.parts().items()}
    confidences, rights = zip(*found.values(), strict=True)
    found = {"both": (np.concatenate(confidences), np.concatenate(rights)), **found}
    return {
        name: 100.0 * binned_error(confidence, right, bins)
        for name, (confidence, right) in found.items()
    }


def are_probabilities(scores: ScoreTable) -> bool:
    """Whether every row of scores (N, C) is non-negative and sums to 1, but for rounding."""
    return all(
        (chunk >= 0).all() and (np.abs(chunk.sum(axis=1, dtype=np.float64) - 1) <= ROUNDING).all()
        for _, chunk in row_chunks(scores)
    )


def binned_error(confidence: Floats, right: Floats, bins: int = BINS) -> float:
    """The error of confidences (N,) in 0..1 whose answers were right (1) or wrong (0), in 0..1."""
    at = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(at, weights=right, minlength=bins) - np.bincount(
        at, weights=confidence, minlength=bins
    )
    return float(np.abs(gaps).sum() / len(confidence))


def _judged(part: TestSet, seen: Mask, gamma: float, probable: bool) -> tuple[Floats, Floats]:
    """The confidence (N,) of each answer, and whether it was right, 1.0 or 0.0."""
    answers = part.seen_unseen_margin.answers(gamma)
    right = (answers == part.labels).astype(np.float64)
    if probable:
        own = [
            chunk[np.arange(len(chunk)), answers[place]] for place, chunk in row_chunks(part.scores)
        ]
        return np.concatenate(own).astype(np.float64), right
    return np.concatenate(
        [_share_of_highest(chunk, seen, gamma) for _, chunk in row_chunks(part.scores)]
    ), right


def _share_of_highest(scores: ScoreTable, seen: Mask, gamma: float) -> Floats:
    """The share (n,) of the highest calibrated score of each row of scores (n, C) in their softmax."""
    scores = scores.astype(np.float64)
    if np.isinf(gamma):  # one side is out of the race
        scores[:, seen if gamma > 0 else ~seen] = -np.inf
    else:
        scores[:, ~seen] += gamma
    scores -= scores.max(axis=1, keepdims=True)
    share: Floats = 1.0 / np.exp(scores, out=scores).sum(axis=1)
    return share
