"""The protocol of generalized zero-shot learning: T1, U, S, H and AUSUC of the two test sets (Xian et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zslkit.errors import DataError, UserError
from zslkit.evaluation.metrics import (
    Duel,
    Floats,
    Index,
    Mask,
    ScoreTable,
    duel,
    harmonic_mean,
    per_class_recall,
    seen_unseen_curve,
)


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

    Raises DataError for scores that are not finite, for shapes that do not fit, for a set without images, for a label
    on the wrong side of `seen`, and if there is no seen or no unseen class; UserError if gamma is NaN.
    """
    if math.isnan(gamma):
        raise UserError("gamma is NaN; calibration takes a number, or 0 for none")
    seen = _checked_classes(seen)
    seen_duel, seen_labels = _checked_set("test_seen", test_seen_scores, test_seen_labels, seen, seen)
    unseen_duel, unseen_labels = _checked_set("test_unseen", test_unseen_scores, test_unseen_labels, seen, ~seen)

    n = len(seen)
    of_seen = 100.0 * per_class_recall(seen_duel.answers(gamma), seen_labels, n)
    of_unseen = 100.0 * per_class_recall(unseen_duel.answers(gamma), unseen_labels, n)
    zsl = 100.0 * per_class_recall(unseen_duel.best_unseen, unseen_labels, n)
    s, u = float(np.nanmean(of_seen)), float(np.nanmean(of_unseen))
    per_class = np.where(seen, of_seen, of_unseen)
    absent = np.isnan(per_class)
    return Metrics(
        T1=float(np.nanmean(zsl)),
        U=u,
        S=s,
        H=harmonic_mean(s, u),
        AUSUC=seen_unseen_curve(seen_duel, seen_labels, unseen_duel, unseen_labels, n).ausuc,
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
    return {"T1": 100.0 / int(np.count_nonzero(~seen)), "U": among_all, "S": among_all, "H": among_all}


def best_gamma(
    val_seen_scores: ScoreTable, val_seen_labels: Index, val_unseen_scores: ScoreTable, val_unseen_labels: Index, seen: Mask
) -> tuple[float, float]:
    """The gamma of the highest H on a validation fold, and that H in percent.

    Give it scores of a fold inside trainval and NEVER of a test set: a gamma picked on test is an oracle's. Shapes and
    errors are those of `evaluate`, `seen` being the fold's. H is constant between two breakpoints; the answer is the
    middle of the best interval, the farthest it can be from either edge, and of equally good intervals the widest. If
    no gamma gives an H above 0, the answer is (0, 0).
    """
    seen = _checked_classes(seen)
    left, left_labels = _checked_set("validation images of seen classes", val_seen_scores, val_seen_labels, seen, seen)
    right, right_labels = _checked_set("validation images of unseen classes", val_unseen_scores, val_unseen_labels, seen, ~seen)
    curve = seen_unseen_curve(left, left_labels, right, right_labels, len(seen))
    if len(curve.breakpoints) < 2:
        return 0.0, 0.0
    low, high = curve.breakpoints[:-1], curve.breakpoints[1:]
    middle = low + (high - low) / 2
    # An interval between two neighbouring floats has no middle, and left and right of the outermost breakpoints H is 0.
    harmonic = np.where((low < middle) & (middle < high), curve.harmonic[1:-1], 0.0)
    best = int(np.lexsort((high - low, harmonic.round(12)))[-1])
    if harmonic[best] <= 0:
        return 0.0, 0.0
    return float(middle[best]), 100.0 * float(harmonic[best])


def _checked_classes(seen: Mask) -> Mask:
    seen = np.asarray(seen)
    if seen.dtype != np.bool_ or seen.ndim != 1:
        raise DataError(f"seen must be a (C,) array of True and False, and it is {seen.dtype} of shape {seen.shape}")
    if seen.all() or not seen.any():
        side = "unseen" if seen.all() else "seen"
        raise DataError(f"None of the {len(seen)} classes is {side}; generalized zero-shot learning needs seen and unseen classes")
    return seen


def _checked_set(name: str, scores: ScoreTable, labels: Index, seen: Mask, own: Mask) -> tuple[Duel, Index]:
    """The set's duels and labels, once it is known that they can be trusted. own (C,): the classes it may hold."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{name}: labels must be an (N,) array of class ids, and they are {labels.dtype} of shape {labels.shape}")
    if scores.shape != (len(labels), len(seen)):
        raise DataError(f"{name}: the scores of {len(labels)} images for {len(seen)} classes have shape {scores.shape}")
    if len(labels) == 0:
        raise DataError(f"{name}: there are no images, so nothing can be measured; check the split")
    if not np.issubdtype(scores.dtype, np.floating):
        raise DataError(f"{name}: scores must be floating-point numbers, and they are {scores.dtype}")
    finite = np.isfinite(scores)
    if not finite.all():
        image, column = np.argwhere(~finite)[0].tolist()
        count = int(np.count_nonzero(~finite.all(axis=1)))
        raise DataError(
            f"{name}: {count} of {len(labels)} images have scores that are not finite (image {image}, class {column}: "
            f"{scores[image, column]}); the model's `scores` must not overflow"
        )
    if labels.min() < 0 or labels.max() >= len(seen):
        raise DataError(f"{name}: a label lies outside 0..{len(seen) - 1}")
    strange = np.unique(labels[~own[labels]])
    if len(strange):
        raise DataError(f"{name}: it holds images of {len(strange)} classes that belong to the other test set (class {strange[0]}, ...)")
    return duel(scores, seen), labels.astype(np.int64, copy=False)
