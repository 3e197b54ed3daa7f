"""The metrics of the field as formulas on score tables: per-class accuracy, H, the seen-unseen curve and its area.

Gamma is the constant that calibrated stacking adds to the scores of the unseen classes (Chao et al. 2016 take it from
the seen ones, which decides the same). As gamma grows, every image changes its answer once, from its best seen class
to its best unseen one, at a breakpoint of its own: best seen score minus best unseen score. Nothing has to be swept:
the sorted breakpoints are the whole curve.

At equal scores the class that stands first wins, as with `argmax`.
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
    """Share of each class's images that got the right answer, (C,) in 0..1; NaN for a class without images.

    answers, labels (N,) class ids below n_classes.
    """
    return per_class_means(answers == labels, labels, n_classes)


def per_class_means(values: NDArray[Any], labels: Index, n_classes: int = 0) -> Floats:
    """Mean of each class's values, (C,); NaN for a class without images. values, labels (N,)."""
    images = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, weights=values, minlength=n_classes)
    means: Floats = np.divide(sums, images, out=np.full(len(images), np.nan), where=images > 0)
    return means


def class_mean(values: NDArray[Any], labels: Index) -> float:
    """Mean over classes of each class's mean of values (N,); classes without images do not count."""
    return float(np.nanmean(per_class_means(values, labels)))


def per_class_accuracy(scores: ScoreTable, labels: Index, classes: Index) -> Floats:
    """Accuracy of each class when only `classes` may be answered, (K,) in their order; NaN for one without images.

    scores (N, C); labels (N,) ids into C; classes (K,) ids of the candidates. An image whose class is no candidate
    counts nowhere.
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
    """H = 2 S U / (S + U) of each pair, and 0 where both are 0. Same unit and shape in and out."""
    s, u = np.asarray(seen, np.float64), np.asarray(unseen, np.float64)
    return np.divide(2 * s * u, s + u, out=np.zeros(np.shape(s + u)), where=s + u > 0)


@dataclass(frozen=True, eq=False)
class SeenUnseenMargin:
    """Each image's best seen class against its best unseen one: all that calibration ever decides.

    best_seen, best_unseen (N,) class ids. breakpoint (N,): the gamma at which the answer changes.
    """

    best_seen: Index
    best_unseen: Index
    breakpoint: Floats

    def answers(self, gamma: float) -> Index:
        """The class (N,) with the highest score once gamma is added to the unseen ones; infinite gammas are allowed.

        At gamma = 0 these are the answers of argmax to the last bit.
        """
        tie_goes_unseen = (self.breakpoint == gamma) & (self.best_unseen < self.best_seen)
        return np.where(
            (gamma > self.breakpoint) | tie_goes_unseen, self.best_unseen, self.best_seen
        )


def seen_unseen_margin(scores: ScoreTable, seen: Mask) -> SeenUnseenMargin:
    """scores (N, C) finite; seen (C,) bool with a class on either side."""
    return seen_unseen_margin_of((chunk for _, chunk in row_chunks(scores)), seen)


def seen_unseen_margin_of(batches: Iterable[ScoreTable], seen: Mask) -> SeenUnseenMargin:
    """The same of scores that come batch by batch, (B, C) each, and need not be kept."""
    seen_ids, unseen_ids = np.flatnonzero(seen), np.flatnonzero(~seen)
    parts: list[tuple[Index, Index, Floats]] = [(seen_ids[:0], unseen_ids[:0], np.empty(0))]
    for scores in batches:
        rows = np.arange(len(scores))
        best_seen = seen_ids[scores[:, seen_ids].argmax(axis=1)]
        best_unseen = unseen_ids[scores[:, unseen_ids].argmax(axis=1)]
        # float64 keeps scores that differ apart, so two float16 or float32 scores never tie by subtraction.
        gap = scores[rows, best_seen].astype(np.float64) - scores[rows, best_unseen].astype(
            np.float64
        )
        parts.append((best_seen, best_unseen, gap))
    return SeenUnseenMargin(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Curve:
    """S and U as functions of gamma: step functions, constant between two neighbouring breakpoints.

    breakpoints (K,) ascending and distinct. seen, unseen (K + 1,) in 0..1: their values on the K + 1 open intervals
    that the breakpoints leave, from gamma = -inf (U = 0) to gamma = +inf (S = 0, U = T1).
    """

    breakpoints: Floats
    seen: Floats
    unseen: Floats

    @property
    def ausuc(self) -> float:
        """Area under the curve of S over U (Chao et al. 2016), 0..1, by the trapezoid rule.

        Where images of both sets change at one and the same gamma, the line between the two points is slanted, which
        is the mean of the areas that the two orders of breaking the tie give.
        """
        area = float(np.sum(np.diff(self.unseen) * (self.seen[1:] + self.seen[:-1])) / 2)
        return min(max(area, 0.0), 1.0)

    @property
    def harmonic(self) -> Floats:
        """H on every interval, (K + 1,) in 0..1."""
        return harmonic_mean(self.seen, self.unseen)

    def at(self, gamma: float) -> tuple[float, float]:
        """S and U in percent under gamma; where it is a breakpoint, right above it."""
        i = int(self.breakpoints.searchsorted(gamma, side="right"))
        return 100.0 * float(self.seen[i]), 100.0 * float(self.unseen[i])

    def points(self) -> list[dict[str, float]]:
        """The whole curve: S and U in percent for the gammas from `above` up to the next point's, the first being -inf.

        At `above` itself, where scores are equal, the order of the classes decides.
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
    """The curve over all gammas, exactly, in O(N log N). labels (N,) class ids.

    Only images that are right on their own side matter: one of test_seen falls out of S at its breakpoint, one of
    test_unseen comes into U there.
    """
    lost, lost_weight = _steps(test_seen.best_seen, test_seen, test_seen_labels)
    won, won_weight = _steps(test_unseen.best_unseen, test_unseen, test_unseen_labels)
    breakpoints, at = np.unique(np.concatenate([lost, won]), return_inverse=True)
    losses = np.bincount(at[: len(lost)], weights=lost_weight, minlength=len(breakpoints))
    wins = np.bincount(at[len(lost) :], weights=won_weight, minlength=len(breakpoints))
    # S is summed from its far end, so that both ends of the curve are zeros without rounding.
    seen = np.append(np.cumsum(losses[::-1])[::-1], 0.0)
    unseen = np.append(0.0, np.cumsum(wins))
    return Curve(breakpoints, seen, unseen)


def _steps(best: Index, images: SeenUnseenMargin, labels: Index) -> tuple[Floats, Floats]:
    """Breakpoints of the images whose `best` class is theirs, and what each adds to the per-class mean."""
    per_class = np.bincount(labels)
    weight = 1.0 / (per_class[labels] * np.count_nonzero(per_class))
    right = best == labels
    return images.breakpoint[right], weight[right]
