"""How much of a figure is the luck of which test images were drawn: the stratified bootstrap over images within classes.

A class of n images has n - 1 of them drawn, with replacement, and their mean stands for it (Rao and Wu 1988, "Resampling
Inference With Complex Survey Data", JASA 83, section 2): the variance of that is the unbiased one. Of n draws it would be
too small by (n - 1) / n, which is a third for three images a class. Classes of one image say nothing of how they vary, so
they are drawn as if they were one class (collapsed strata; Wolter 2007, "Introduction to Variance Estimation", 2.5), which
rather makes an interval too wide; a class that alone has one image varies as an image of the whole set does.

All runs see the same resamples: that is what makes their differences paired. Classes are fixed and training is not
repeated, so an interval says nothing of other classes or of seeds.
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
"""Drawn images that are held at a time, 32 MB of them."""
_NORMAL: Final = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True)
class Interval:
    """A figure with its interval at LEVEL, in the figure's unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Resampled:
    """T1, U, S, H of R runs in percent: on the real test sets, name -> (R,), and on B resamples, name -> (B, R)."""

    value: dict[str, Floats]
    drawn: dict[str, Floats]

    def interval(self, name: str, runs: list[int]) -> Interval:
        """The mean figure of some runs with its interval over test images."""
        value = float(self.value[name][runs].mean())
        return Interval(
            value, *logit_interval(value, float(self.drawn[name][:, runs].mean(axis=1).std()))
        )


def logit_interval(percent: float, spread: float) -> tuple[float, float]:
    """The interval of a share that is normal on the scale of log(share / (100 - share)), where its ends stay within 0 and 100.

    Near 0 and 100 it covers better than percentiles do (Dean and Pagano 2015, "Evaluating Confidence Interval Methods for
    Binomial Proportions in Clustered Surveys", J. Survey Statistics and Methodology 3).

    Args:
        percent: The share.
        spread: Its standard deviation, in points; 0 for a share that no draw can move, such as one of 0 or 100.
    """
    if spread <= 0 or not 0 < percent < 100:
        return percent, percent
    share = percent / 100
    reach = _NORMAL * spread / 100 / (share * (1 - share))
    odds = math.log(share / (1 - share))
    low, high = (100 / (1 + math.exp(min(-end, 700.0))) for end in (odds - reach, odds + reach))
    return low, high


def figures(outcomes: Outcomes) -> dict[str, Floats]:
    """T1, U, S and H of all runs on the real test sets, name -> (R,) in percent."""
    t1, u = (_percent(right, outcomes.unseen_labels) for right in (outcomes.T1, outcomes.U))
    s = _percent(outcomes.S, outcomes.seen_labels)
    return {"T1": t1, "U": u, "S": s, "H": harmonic_mean(s, u)}


def _percent(right: Mask, labels: Index) -> Floats:
    return np.array([100.0 * class_mean(of_run, labels) for of_run in right.T])


def resample(outcomes: Outcomes, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """The figures of all runs on `resamples` draws of the test images; same seed, same draws."""
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
    """The interval that holds LEVEL of drawn (B,), equal shares left out on both sides."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _draws(right: Floats, labels: Index, resamples: int, rng: np.random.Generator) -> Floats:
    """Means over classes in percent, (B, R), of right (N, R) on resamples of the images within classes."""
    images = np.bincount(labels)
    weight = 100.0 / np.count_nonzero(images)
    alone = images[labels] == 1
    order = np.lexsort((labels, ~alone))  # classes of one image come first, as one class
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
    # Uniform numbers scaled to each class's size are much faster than bounded integers of many different bounds.
    start, scale = np.repeat(first, size - 1), np.repeat(size, size - 1)
    for done in range(0, resamples, step := max(1, AT_ONCE // n)):
        count = min(step, resamples - done)
        picked = start + (rng.random((count, len(start))) * scale).astype(np.int64)
        picked += (np.arange(count) * n)[:, None]
        times = np.bincount(picked.ravel(), minlength=count * n).reshape(count, n)
        means[done : done + count] += times.astype(np.float64) @ weighted
    return means
