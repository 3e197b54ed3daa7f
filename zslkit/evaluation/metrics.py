"""The metrics of the field as formulas: per-class accuracy, H, the seen-unseen curve and its area.

Calibrated stacking adds a constant gamma to the scores of unseen classes (Chao et al. 2016 subtract
it from those of seen classes, which is equivalent). As gamma grows, every image changes its answer
once, from its best seen class to its best unseen class. It does so at its breakpoint: best seen
score minus best unseen score. The sorted breakpoints are the whole curve, without a sweep.

At equal scores, the class with the lower id wins, as in `argmax`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zslkit.evaluation.chunks import row_chunks

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
ScoreTable = NDArray[np.floating[Any]]


def per_class_recall(answers: Index, labels: Index, n_classes: int) -> Floats:
    """Recall of each class, (C,) in 0..1, of answers (N,) to labels (N,); NaN without images."""
    return per_class_means(answers == labels, labels, n_classes)


def per_class_means(values: NDArray[Any], labels: Index, n_classes: int = 0) -> Floats:
    """Mean of each class's values, (C,); NaN for a class without images. values, labels (N,)."""
    images = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, weights=values, minlength=n_classes)
    means: Floats = np.divide(sums, images, out=np.full(len(images), np.nan), where=images > 0)
    return means


def class_mean(values: NDArray[Any], labels: Index) -> float:
    """Mean over classes of each class's mean of values (N,); ignores classes without images."""
    return float(np.nanmean(per_class_means(values, labels)))


def per_class_accuracy(scores: ScoreTable, labels: Index, classes: Index) -> Floats:
    """Accuracy of each of the classes (K,), in their order, if only these can be answered.

    Of scores (N, C) and labels (N,) in 0..1; NaN for a class without images.
    """
    candidates = np.sort(classes)
    answers = np.concatenate(
        [
            candidates[:0],
            *(candidates[chunk[:, candidates].argmax(axis=1)] for _, chunk in row_chunks(scores)),
        ]
    )
    return per_class_recall(answers, labels, scores.shape[1])[classes]


def harmonic_mean(seen: ArrayLike, unseen: ArrayLike) -> Floats:
    """H = 2 S U / (S + U) of each pair; 0 if both are 0. Same unit and shape in and out."""
    s, u = np.asarray(seen, np.float64), np.asarray(unseen, np.float64)
    return np.divide(2 * s * u, s + u, out=np.zeros(np.shape(s + u)), where=s + u > 0)


@dataclass(frozen=True, eq=False)
class SeenUnseenMargin:
    """Best seen and best unseen class of each image; all that calibration depends on.

    Attributes:
        best_seen: (N,) class ids.
        best_unseen: (N,) class ids.
        breakpoint: (N,), the gamma at which the answer changes.
    """

    best_seen: Index
    best_unseen: Index
    breakpoint: Floats

    def answers(self, gamma: float) -> Index:
        """The answers (N,) under gamma, which may be infinite; at gamma = 0 exactly `argmax`."""
        tie_goes_unseen = (self.breakpoint == gamma) & (self.best_unseen < self.best_seen)
        return np.where(
            (gamma > self.breakpoint) | tie_goes_unseen, self.best_unseen, self.best_seen
        )


def seen_unseen_margin(scores: ScoreTable, seen: Mask) -> SeenUnseenMargin:
    """Best classes and breakpoints of finite scores (N, C); seen (C,) bool has both values."""
    return seen_unseen_margin_of((chunk for _, chunk in row_chunks(scores)), seen)


def seen_unseen_margin_of(batches: Iterable[ScoreTable], seen: Mask) -> SeenUnseenMargin:
    """The same for scores in batches (B, C), which are not kept."""
    seen_ids, unseen_ids = np.flatnonzero(seen), np.flatnonzero(~seen)
    parts: list[tuple[Index, Index, Floats]] = [(seen_ids[:0], unseen_ids[:0], np.empty(0))]
    for scores in batches:
        rows = np.arange(len(scores))
        best_seen = seen_ids[scores[:, seen_ids].argmax(axis=1)]
        best_unseen = unseen_ids[scores[:, unseen_ids].argmax(axis=1)]
        # float64: the difference of unequal float16 or float32 scores is never 0.
        high, low = (scores[rows, k].astype(np.float64) for k in (best_seen, best_unseen))
        parts.append((best_seen, best_unseen, high - low))
    return SeenUnseenMargin(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Curve:
    """S and U as step functions of gamma, constant between neighbouring breakpoints.

    Attributes:
        breakpoints: (K,) ascending and distinct.
        seen: (K + 1,) S in 0..1 on the open intervals between breakpoints, from gamma = -inf to
            gamma = +inf, where it is 0.
        unseen: (K + 1,) U, likewise, from 0 to T1.
    """

    breakpoints: Floats
    seen: Floats
    unseen: Floats

    @property
    def ausuc(self) -> float:
        """Area under S over U (Chao et al. 2016), 0..1, by the trapezoid rule.

        If images of both sets change at the same gamma, the line between the two points is slanted:
        the mean of the two orders of breaking the tie.
        """
        area = float(np.sum(np.diff(self.unseen) * (self.seen[1:] + self.seen[:-1])) / 2)
        return min(max(area, 0.0), 1.0)

    @property
    def harmonic(self) -> Floats:
        """H on every interval, (K + 1,) in 0..1."""
        return harmonic_mean(self.seen, self.unseen)

    def at(self, gamma: float) -> tuple[float, float]:
        """S and U in percent under gamma; at a breakpoint, those just above it."""
        i = int(self.breakpoints.searchsorted(gamma, side="right"))
        return 100.0 * float(self.seen[i]), 100.0 * float(self.unseen[i])

    def points(self) -> list[dict[str, float]]:
        """The whole curve as points of S and U in percent.

        Each point holds for gammas from its `above` to that of the next point. At `above` itself
        scores are equal, and the order of the classes decides.
        """
        above = [-np.inf, *self.breakpoints.tolist()]
        percent = zip(above, (100 * self.seen).tolist(), (100 * self.unseen).tolist(), strict=True)
        return [{"above": gamma, "S": s, "U": u} for gamma, s, u in percent]


def seen_unseen_curve(
    test_seen: SeenUnseenMargin,
    test_seen_labels: Index,
    test_unseen: SeenUnseenMargin,
    test_unseen_labels: Index,
) -> Curve:
    """The exact curve over all gammas, in O(N log N), of images with labels (Ns,) and (Nu,).

    Only images that are right on their own side matter: at its breakpoint, an image of test_seen
    leaves S and an image of test_unseen enters U.
    """
    lost, lost_weight = _steps(test_seen.best_seen, test_seen, test_seen_labels)
    won, won_weight = _steps(test_unseen.best_unseen, test_unseen, test_unseen_labels)
    breakpoints, place = np.unique(np.concatenate([lost, won]), return_inverse=True)
    losses = np.bincount(place[: len(lost)], weights=lost_weight, minlength=len(breakpoints))
    wins = np.bincount(place[len(lost) :], weights=won_weight, minlength=len(breakpoints))
    # S is summed from its end, so that both ends of the curve are exactly 0.
    seen = np.append(np.cumsum(losses[::-1])[::-1], 0.0)
    unseen = np.append(0.0, np.cumsum(wins))
    return Curve(breakpoints, seen, unseen)


def _steps(best: Index, images: SeenUnseenMargin, labels: Index) -> tuple[Floats, Floats]:
    """Breakpoints and per-class weights of the images whose `best` class is right."""
    per_class = np.bincount(labels)
    weight = 1.0 / (per_class[labels] * np.count_nonzero(per_class))
    right = best == labels
    return images.breakpoint[right], weight[right]
