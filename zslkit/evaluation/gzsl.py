"""The protocol of generalized zero-shot learning: T1, U, S, H and AUSUC (Xian et al. 2018)."""

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
"""Names of the two sets of a validation fold in error messages."""


@dataclass(frozen=True, eq=False)
class Metrics:
    """The metrics of one model. Accuracies are means over classes in percent; AUSUC is 0..1.

    Classes without test images do not count in means.

    Attributes:
        T1: Accuracy of unseen classes among unseen classes.
        U: Accuracy of unseen classes among all classes, under gamma.
        S: Accuracy of seen classes among all classes, under gamma.
        H: Harmonic mean of U and S.
        AUSUC: Area under the seen-unseen curve.
        gamma: Calibration: the value added to the scores of unseen classes.
        per_class: (C,) accuracy of each class among all, under gamma; NaN without test images.
        per_class_zsl: (C,) accuracy of unseen classes among unseen classes; NaN for others.
        chance: T1, U, S and H of random answers.
        missing_seen: Ids of seen classes without test images; `missing_unseen` likewise.
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

    @property
    def metrics(self) -> dict[str, float]:
        """As `figures`, under the name that the result of a run has for them."""
        return self.figures()


def evaluate(
    test_seen_scores: ScoreTable,
    test_seen_labels: Index,
    test_unseen_scores: ScoreTable,
    test_unseen_labels: Index,
    seen: Mask,
    gamma: float = 0.0,
) -> Metrics:
    """Compute all metrics from one model's uncalibrated scores; shapes as of `checked_sets`.

    At equal scores, the class with the lower id wins.

    Args:
        gamma: Added to the scores of unseen classes for U, S and H; may be infinite. T1 and AUSUC
            do not depend on it.

    Raises:
        DataError: As `checked_sets`.
        UserError: gamma is NaN.
    """
    return measure(
        checked_sets(
            test_seen_scores, test_seen_labels, test_unseen_scores, test_unseen_labels, seen
        ),
        gamma,
    )


def measure(sets: AnsweredSets, gamma: float = 0.0) -> Metrics:
    """Compute all metrics as `evaluate`, for checked sets or for sets without scores."""
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
    """T1, U, S and H, in percent, of random answers. seen (C,) bool."""
    among_all = 100.0 / len(seen)
    return {"T1": 100.0 / int(np.count_nonzero(~seen)), **dict.fromkeys("USH", among_all)}


def peak(*curves: Curve) -> tuple[float, float]:
    """The gamma with the highest H in percent, and that H; (0, 0) if no H is above 0.

    Of several curves, one per validation fold, the mean H counts: all are constant between two
    neighbouring breakpoints of all, so it is exact, and the curves' own best gammas may be good for
    none of them. NEVER use curves of test sets to calibrate: a gamma selected on test is an oracle.
    H is constant between two breakpoints; gamma is the middle of the best interval, and of equally
    good intervals the widest counts.
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
    # Two neighbouring floats have no middle; outside the outermost breakpoints, H is 0.
    harmonic = np.where((low < middle) & (middle < high), mean, 0.0)
    best = int(np.lexsort((high - low, harmonic.round(12)))[-1])
    if harmonic[best] <= 0:
        return 0.0, 0.0
    return float(middle[best]), 100.0 * float(harmonic[best])
