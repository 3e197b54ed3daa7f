"""Bootstrap intervals over test images, stratified by class.

A class of n images gets n - 1 draws with replacement, whose mean has an unbiased variance (Rao and
Wu 1988, "Resampling Inference With Complex Survey Data", JASA 83, section 2). With n draws it would
be too small by the factor (n - 1) / n: a third for three images per class. Classes of one image
have no variance of their own, so they are drawn as one class (collapsed strata; Wolter 2007,
"Introduction to Variance Estimation", 2.5), which widens the interval. A single class of one image
varies as an image of the whole set does.

All runs share the same resamples, which makes their differences paired. Classes are fixed and
training is not repeated, so intervals do not cover other classes or seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from zslkit.evaluation.metrics import Floats, Index, Mask, class_mean, harmonic_mean
from zslkit.evaluation.outcomes import Outcomes

LEVEL: Final = 0.95
RESAMPLES: Final = 1000
AT_ONCE: Final = 4_000_000
"""Drawn images in memory at a time: 32 MB."""
IN_CACHE: Final = 125_000
"""Images drawn at a time, so that they stay in the processor's cache: 1 MB."""
_NORMAL: Final = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True)
class Interval:
    """A figure with its interval at LEVEL, in the figure's unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Resampled:
    """Figures of R runs in percent, by name (T1, U, S, H).

    `value` (R,) on the real test sets, and `drawn` (B, R) on B resamples.
    """

    value: dict[str, Floats]
    drawn: dict[str, Floats]

    def interval(self, name: str, runs: list[int]) -> Interval:
        """Mean figure of some runs, with its interval over test images."""
        value = float(self.value[name][runs].mean())
        return Interval(
            value, *logit_interval(value, float(self.drawn[name][:, runs].mean(axis=1).std()))
        )


def logit_interval(percent: float, spread: float) -> tuple[float, float]:
    """Interval of a share, normal on the logit scale, so that its ends stay within 0 and 100.

    Near 0 and 100 its coverage is better than that of percentiles (Dean and Pagano 2015,
    "Evaluating Confidence Interval Methods for Binomial Proportions in Clustered Surveys",
    J. Survey Statistics and Methodology 3).

    Args:
        percent: The share, in percent.
        spread: Its standard deviation, in points; 0 if no draw changes the share.
    """
    if spread <= 0 or not 0 < percent < 100:
        return percent, percent
    share = percent / 100
    reach = _NORMAL * spread / 100 / (share * (1 - share))
    odds = math.log(share / (1 - share))
    low, high = (100 / (1 + math.exp(min(-end, 700.0))) for end in (odds - reach, odds + reach))
    return low, high


def figures(outcomes: Outcomes) -> dict[str, Floats]:
    """T1, U, S and H of all runs on the real test sets, (R,) each, in percent."""
    t1, u = (_percent(right, outcomes.unseen_labels) for right in (outcomes.T1, outcomes.U))
    s = _percent(outcomes.S, outcomes.seen_labels)
    return {"T1": t1, "U": u, "S": s, "H": harmonic_mean(s, u)}


def _percent(right: Mask, labels: Index) -> Floats:
    return np.array([100.0 * class_mean(of_run, labels) for of_run in right.T])


def resample(outcomes: Outcomes, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """Figures of all runs on `resamples` draws of the test images; same seed, same draws."""
    seen_rng, unseen_rng = (np.random.default_rng([seed, side]) for side in (0, 1))
    value = figures(outcomes)
    both = _draws(
        np.concatenate([outcomes.T1, outcomes.U], axis=1).astype(np.float64),
        outcomes.unseen_labels,
        resamples,
        unseen_rng,
    )
    drawn = {
        "T1": both[:, : outcomes.runs],
        "U": both[:, outcomes.runs :],
        "S": _draws(outcomes.S.astype(np.float64), outcomes.seen_labels, resamples, seen_rng),
    }
    drawn["H"] = harmonic_mean(drawn["S"], drawn["U"])
    return Resampled(value, drawn)


def percentiles(drawn: Floats) -> tuple[float, float]:
    """Central interval that holds LEVEL of drawn (B,)."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _draws(right: Floats, labels: Index, resamples: int, rng: np.random.Generator) -> Floats:
    """Means over classes (B, R), in percent, of right (N, R) on resamples within classes."""
    images = np.bincount(labels)
    weight = 100.0 / np.count_nonzero(images)
    alone = images[labels] == 1
    order = np.lexsort((labels, ~alone))  # classes of one image first, as one class
    right, singles, n = right[order], int(np.count_nonzero(alone)), len(labels)
    size = images[images > 1]
    share = np.full(len(size), weight)
    if singles > 1:
        size, share = np.append(singles, size), np.append(singles * weight, share)
    first = (np.cumsum(size) - size) + (singles == 1)
    of_image = np.zeros(n)
    of_image[n - size.sum() :] = np.repeat(share / (size - 1), size)
    weighted = right * of_image[:, None]
    means = np.zeros((resamples, right.shape[1]))
    if singles == 1:
        means += weight * (right[0] + right[rng.integers(n, size=resamples)] - right.mean(axis=0))
    # Scaled uniform numbers are much faster than integers with many different bounds.
    start, scale = np.repeat(first, size - 1), np.repeat(size, size - 1)
    times = np.empty((min(resamples, max(1, AT_ONCE // n)), n))
    few = max(1, IN_CACHE // n)
    for done in range(0, resamples, len(times)):
        block = times[: resamples - done]
        for part in (block[at : at + few] for at in range(0, len(block), few)):
            picked = (rng.random((len(part), len(start))) * scale).astype(np.int64)
            picked += start + (np.arange(len(part)) * n)[:, None]
            part[:] = np.bincount(picked.ravel(), minlength=part.size).reshape(part.shape)
        means[done : done + len(block)] += block @ weighted
    return means
