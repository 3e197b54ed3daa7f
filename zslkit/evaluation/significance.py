"""Is one model better than another, or lucky? Paired tests on the same images, and how many seeds would settle it.

Two sources of luck are kept apart. Which test images were drawn: the paired bootstrap of the difference of H, and
McNemar's test on unseen images. How a training happened to go: the spread over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from zslkit.evaluation.bootstrap import LEVEL, Interval, Resampled, percentiles
from zslkit.evaluation.metrics import Floats, Mask

ALPHA: Final = 1 - LEVEL
POWER: Final = 0.8
MOST_SEEDS: Final = 10_000
MOST_RESAMPLES: Final = 20_000
"""Beyond this, more pairs get no more resamples: pairs times resamples would grow with the fourth power of the rows."""


@dataclass(frozen=True)
class Difference:
    """How far model A is above model B in a figure, with its paired interval, and the p-value of no difference."""

    interval: Interval
    p: float


@dataclass(frozen=True)
class McNemar:
    """Images that only one of two models answered right, and the exact two-sided p-value of their being equally likely."""

    only_a: int
    only_b: int
    p: float


def paired_difference(
    resampled: Resampled, a: list[int], b: list[int], name: str = "H", pairs: int = 1
) -> Difference:
    """The mean figure of runs `a` minus that of runs `b`, on the same resamples.

    p: twice the share of resamples on the far side of 0, the real test sets counted as one resample; 1 at most. pairs: among how
    many the p-value will be corrected. Where there are too few resamples for them (`too_few`) and none lies on the far side, a share
    can say nothing: p is then the normal approximation to the resamples, two-sided, and at most what the share would give.
    """
    drawn = resampled.drawn[name][:, a].mean(axis=1) - resampled.drawn[name][:, b].mean(axis=1)
    value = float(resampled.value[name][a].mean() - resampled.value[name][b].mean())
    low, high = percentiles(drawn)
    p = _two_sided(drawn)
    if too_few(len(drawn), pairs) and p <= 2 / (len(drawn) + 1):
        p = min(p, _normal(value, float(drawn.std(ddof=1))))
    return Difference(Interval(value, low, high), p)


def _normal(value: float, spread: float) -> float:
    """Two-sided p-value of a normal variable around 0."""
    return math.erfc(abs(value) / spread / math.sqrt(2)) if spread > 0 else 0.0


def _two_sided(drawn: Floats) -> float:
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return min(1.0, 2.0 * (int(tail) + 1) / (len(drawn) + 1))


def enough_resamples(pairs: int, least: int = 2000, most: int = MOST_RESAMPLES) -> int:
    """Resamples with which the smallest p-value there is, 2 / (B + 1), is still half of ALPHA after Holm over `pairs`; `most` at most."""
    return min(max(least, math.ceil(4 * pairs / ALPHA)), most)


def too_few(resamples: int, pairs: int) -> bool:
    """Whether the smallest p-value that a share of resamples can give is more than half of ALPHA after Holm over `pairs`."""
    return resamples < math.ceil(4 * pairs / ALPHA)


def mcnemar(a: Mask, b: Mask) -> McNemar:
    """McNemar's test of right answers a (N, R) and b (N, Q) on the same images: N images of unseen classes, R and Q runs.

    It counts images, each alike; T1 is a mean over classes, so where classes differ in size the two may disagree. With
    one run each this is the exact test (binomial, at any number of discordant images). With more, an image counts
    for the model that is right on it in the larger share of its runs: a sign test over images, since seeds see the
    same images and are no further ones.
    """
    from scipy.stats import binomtest

    gap = a.sum(axis=1) * b.shape[1] - b.sum(axis=1) * a.shape[1]
    only_a, only_b = int(np.count_nonzero(gap > 0)), int(np.count_nonzero(gap < 0))
    return McNemar(
        only_a, only_b, binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    )


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p-values in the order given, each to be held against ALPHA itself."""
    adjusted = [0.0] * len(p)
    worst = 0.0
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        worst = max(worst, min(1.0, (len(p) - step) * p[i]))
        adjusted[i] = worst
    return adjusted


@dataclass(frozen=True)
class SeedsNeeded:
    """How many seeds of each model would separate two models. each: seeds per model, None if that cannot be said; said: in words."""

    each: int | None
    said: str


def seeds_needed(a: Sequence[float], b: Sequence[float]) -> SeedsNeeded:
    """What a two-sided t-test of two independent groups at 5 % would need to find the observed difference with 80 % power.

    a, b: the figure of each model's seeds. The spread is the pooled standard deviation of both; a model with one seed
    brings none. It is a plan and no test: the observed difference and spread are taken for the true ones.
    """
    difference = abs(math.fsum(a) / len(a) - math.fsum(b) / len(b))
    freedom = len(a) + len(b) - 2
    if difference <= 1e-9:
        return SeedsNeeded(None, "not separated by seeds alone: their means are equal")
    if freedom == 0:
        return SeedsNeeded(None, "one seed each says nothing of the spread over seeds")
    spread = math.sqrt((_squares(a) + _squares(b)) / freedom)
    if spread <= 1e-9:
        return SeedsNeeded(
            2, "the seeds of each model agree exactly, so more of them say nothing new"
        )
    each = _seeds_for(difference / spread)
    if each is None:
        return SeedsNeeded(
            None, f"not separated by seeds alone: it would take more than {MOST_SEEDS} each"
        )
    more = [max(0, each - len(group)) for group in (a, b)]
    if not any(more):
        return SeedsNeeded(
            each, f"{each} seeds each are enough for a difference like this, and are there"
        )
    return SeedsNeeded(each, f"about {each} seeds each ({max(more)} more) would separate them")


def _squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values)


def _seeds_for(effect: float) -> int | None:
    """The least n per group with POWER for a standardised difference `effect` > 0; None beyond MOST_SEEDS."""
    # Where the normal approximation is far beyond the limit, the exact answer is as well.
    if (2.8 / effect) ** 2 > MOST_SEEDS:
        return None
    low, high = 1, 2
    while t_test_power(effect, high) < POWER:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if t_test_power(effect, middle) >= POWER else (middle, high)
    return high


def t_test_power(effect: float, n: int) -> float:
    """The power of the two-sided t-test at ALPHA with n >= 2 values in each of two groups, `effect` standard deviations apart."""
    from scipy.stats import nct, t

    freedom, shift = 2 * n - 2, effect * math.sqrt(n / 2)
    edge = t.ppf(1 - ALPHA / 2, freedom)
    missed = float(nct.cdf(edge, freedom, shift) - nct.cdf(-edge, freedom, shift))
    # Far out scipy's distribution is NaN, and there nothing is missed.
    return 1.0 if math.isnan(missed) else 1.0 - missed
