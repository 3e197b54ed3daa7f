"""The protocol of generalized zero-shot learning: T1, U, S, H and AUSUC of the two test sets (Xian et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zslkit.errors import UserError
from zslkit.evaluation.metrics import (
    Curve,
    Floats,
    Index,
    Mask,
    ScoreTable,
    harmonic_mean,
    per_class_recall,
)
from zslkit.evaluation.sets import AnsweredSets, checked_sets

VALIDATION_NAMES = ("validation images of seen classes", "validation images of unseen classes")
"""What errors call the two sets of a fold inside trainval."""


@dataclass(frozen=True, eq=False)
class Metrics:
    """What one table of scores is worth. Accuracies are means over classes, in percent; AUSUC is 0..1.

    T1: unseen classes among themselves. U, S: unseen and seen classes among all classes, under `gamma`. H: their
    harmonic mean. A class without test images counts in no mean; missing_seen and missing_unseen hold the ids of such.
    per_class (C,): accuracy of each class among all classes under gamma, percent; NaN without test images.
    per_class_zsl (C,): accuracy of the unseen classes among themselves, percent; NaN for seen ones and without images.
    chance: T1, U, S, H of answering at random.
    """

    T1: float
    U: float
    S: float
    H: float
    AUSUC: float
    gamma: float
    per_class: Floats
    per_class_zsl: Floats
    chance: dict[str, float]
    missing_seen: tuple[int, ...]
    missing_unseen: tuple[int, ...]

    def figures(self) -> dict[str, float]:
        """T1, U, S, H and AUSUC by name."""
        return {"T1": self.T1, "U": self.U, "S": self.S, "H": self.H, "AUSUC": self.AUSUC}


def evaluate(
    test_seen_scores: ScoreTable,
    test_seen_labels: Index,
    test_unseen_scores: ScoreTable,
    test_unseen_labels: Index,
    seen: Mask,
    gamma: float = 0.0,
) -> Metrics:
    """All metrics of one model's uncalibrated scores.

    test_seen_scores (Ns, C), test_seen_labels (Ns,), test_unseen_scores (Nu, C), test_unseen_labels (Nu,): class ids;
    seen (C,) bool. gamma is added to the scores of unseen classes before U, S and H are taken; +inf and -inf are
    allowed. T1 and AUSUC do not depend on it. At equal scores the class that stands first wins.

    Raises DataError as `checked_sets` does, and UserError if gamma is NaN.
    """
    return measure(
        checked_sets(
            test_seen_scores, test_seen_labels, test_unseen_scores, test_unseen_labels, seen
        ),
        gamma,
    )


def measure(sets: AnsweredSets, gamma: float = 0.0) -> Metrics:
    """`evaluate` for sets that are checked already, or of which nothing but the answers is left."""
    if math.isnan(gamma):
        raise UserError("gamma is NaN; calibration takes a number, or 0 for none")
    seen, n = sets.seen, sets.n_classes
    left, right = sets.test_seen, sets.test_unseen
    of_seen = 100.0 * per_class_recall(left.seen_unseen_margin.answers(gamma), left.labels, n)
    of_unseen = 100.0 * per_class_recall(right.seen_unseen_margin.answers(gamma), right.labels, n)
    zsl = 100.0 * per_class_recall(right.seen_unseen_margin.best_unseen, right.labels, n)
    s, u = float(np.nanmean(of_seen)), float(np.nanmean(of_unseen))
    per_class = np.where(seen, of_seen, of_unseen)
    absent = np.isnan(per_class)
    return Metrics(
        T1=float(np.nanmean(zsl)),
        U=u,
        S=s,
        H=float(harmonic_mean(s, u)),
        AUSUC=sets.curve().ausuc,
        gamma=float(gamma),
        per_class=per_class,
        per_class_zsl=zsl,
        chance=chance(seen),
        missing_seen=tuple(np.flatnonzero(absent & seen).tolist()),
        missing_unseen=tuple(np.flatnonzero(absent & ~seen).tolist()),
    )


def chance(seen: Mask) -> dict[str, float]:
    """T1, U, S and H, in percent, of a model that answers at random. seen (C,) bool."""
    among_all = 100.0 / len(seen)
    return {
        "T1": 100.0 / int(np.count_nonzero(~seen)),
        "U": among_all,
        "S": among_all,
        "H": among_all,
    }


def best_gamma(
    val_seen_scores: ScoreTable,
    val_seen_labels: Index,
    val_unseen_scores: ScoreTable,
    val_unseen_labels: Index,
    seen: Mask,
) -> tuple[float, float]:
    """The gamma of the highest H on a validation fold, and that H in percent.

    Give it scores of a fold inside trainval and NEVER of a test set: a gamma picked on test is an oracle's. Shapes and
    errors are those of `evaluate`, `seen` being the fold's. H is constant between two breakpoints; the answer is the
    middle of the best interval, the farthest it can be from either edge, and of equally good intervals the widest. If
    no gamma gives an H above 0, the answer is (0, 0).
    """
    return peak(
        checked_sets(
            val_seen_scores,
            val_seen_labels,
            val_unseen_scores,
            val_unseen_labels,
            seen,
            VALIDATION_NAMES,
        ).curve()
    )


def peak(*curves: Curve) -> tuple[float, float]:
    """The gamma of the highest H, as `best_gamma` says, and that H in percent; of several curves, the highest mean of their H.

    Args:
        curves: One of each validation fold. Between two neighbouring breakpoints of all of them none changes, so that the mean is exact.
            The mean of the gammas that are best for one each is none that is good for all.
    """
    edges = np.unique(np.concatenate([curve.breakpoints for curve in curves]))
    if len(edges) < 2:
        return 0.0, 0.0
    low, high = edges[:-1], edges[1:]
    mean = np.mean(
        [curve.harmonic[curve.breakpoints.searchsorted(low, side="right")] for curve in curves],
        axis=0,
    )
    middle = low + (high - low) / 2
    # An interval between two neighbouring floats has no middle, and left and right of the outermost breakpoints H is 0.
    harmonic = np.where((low < middle) & (middle < high), mean, 0.0)
    best = int(np.lexsort((high - low, harmonic.round(12)))[-1])
    if harmonic[best] <= 0:
        return 0.0, 0.0
    return float(middle[best]), 100.0 * float(harmonic[best])
