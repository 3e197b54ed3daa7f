"""Rank of the true class among all classes: mean rank and top-k accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zslkit.evaluation.chunks import row_chunks
from zslkit.evaluation.metrics import Index, Mask, ScoreTable, class_mean
from zslkit.evaluation.sets import TestSet, TestSets


def ranks(part: TestSet, seen: Mask, gamma: float = 0.0) -> Index:
    """Rank (N,) of each image's true class among all classes, from 1; seen (C,) bool.

    At equal scores the class with the lower id wins, so rank 1 is exactly a right answer.
    """
    return np.concatenate(
        [_ranks(chunk, part.labels[place], seen, gamma) for place, chunk in row_chunks(part.scores)]
    )


def _ranks(scores: ScoreTable, labels: Index, seen: Mask, gamma: float) -> Index:
    own = scores[np.arange(len(labels)), labels][:, None]
    # As in SeenUnseenMargin: subtract scores of the two sides in float64 and compare with gamma.
    across = own.astype(np.float64) - scores
    true_seen = seen[labels][:, None]
    same = seen[None, :] == true_seen
    edge = np.where(true_seen, gamma, -gamma)
    ahead = np.where(same, scores > own, across < edge)
    level = np.where(same, scores == own, across == edge)
    first = np.arange(len(seen))[None, :] < labels[:, None]
    ranked: Index = 1 + np.count_nonzero(ahead | (level & first), axis=1).astype(np.int64)
    return ranked


def all_ranks(sets: TestSets, gamma: float = 0.0) -> dict[str, Index]:
    """Ranks of each test set; the input of `mean_rank` and `top_k`."""
    return {name: ranks(part, sets.seen, gamma) for name, part in sets.parts().items()}


def mean_rank(sets: TestSets, ranked: Mapping[str, Index]) -> dict[str, float]:
    """Mean over classes of the mean rank, by test set; 1 is perfect, (C + 1) / 2 is chance."""
    return {name: class_mean(ranked[name], part.labels) for name, part in sets.parts().items()}


def top_k(sets: TestSets, k: int, ranked: Mapping[str, Index]) -> dict[str, float]:
    """Top-k accuracy, mean over classes in percent, by test set; k = 1 gives S and U."""
    return {
        name: 100.0 * class_mean(ranked[name] <= k, part.labels)
        for name, part in sets.parts().items()
    }
