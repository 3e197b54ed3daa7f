"""Paired tests of two models on the same images, and the number of seeds that would separate them.

Two sources of chance are kept apart: the drawn test images (paired bootstrap of the difference in
H, McNemar's test on unseen images) and the training (the spread over seeds).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np

from zslkit.evaluation.bootstrap import LEVEL, Interval, Resampled, percentiles
from zslkit.evaluation.metrics import Mask

ALPHA: Final = 1 - LEVEL
POWER: Final = 0.8
MOST_SEEDS: Final = 10_000
MOST_RESAMPLES: Final = 20_000
"""Upper limit; pairs times resamples would grow with the fourth power of the rows."""


@dataclass(frozen=True)
class Difference:
    """Difference of a figure between models A and B, and the p-value of no difference.

    Attributes:
        interval: Figure of A minus that of B, with its paired interval.
        p: Two-sided p-value.
    """

    interval: Interval
    p: float


@dataclass(frozen=True)
class McNemar:
    """McNemar's test: how many images only model A, and only model B, answers right."""

    only_a: int
    only_b: int

    @property
    def p(self) -> float:
        """Exact two-sided p-value of both being equally likely."""
        from scipy.stats import binomtest  # takes longer to import than a table takes to make

        differing = self.only_a + self.only_b
        return float(binomtest(self.only_a, differing).pvalue) if differing else 1.0


def paired_difference(
    resampled: Resampled, a: list[int], b: list[int], name: str = "H", pairs: int = 1
) -> Difference:
    """Test the mean figure of runs `a` minus that of runs `b` on the same resamples.

    The p-value is twice the share of resamples on the far side of 0, with the real test sets
    counted as one resample, at most 1. If no resample is on the far side and there are too few of
    them for the correction over `pairs` (`too_few`), the p-value is that of a normal approximation
    to the resamples, where it is smaller.
    """
    drawn = resampled.drawn[name][:, a].mean(axis=1) - resampled.drawn[name][:, b].mean(axis=1)
    value = float(resampled.value[name][a].mean() - resampled.value[name][b].mean())
    low, high = percentiles(drawn)
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    p = min(1.0, 2.0 * (int(tail) + 1) / (len(drawn) + 1))
    if too_few(len(drawn), pairs) and p <= 2 / (len(drawn) + 1):
        p = min(p, _normal(value, float(drawn.std(ddof=1))))
    return Difference(Interval(value, low, high), p)


def _normal(value: float, spread: float) -> float:
    """Two-sided p-value of a value of a normal variable with mean 0."""
    return math.erfc(abs(value) / spread / math.sqrt(2)) if spread > 0 else 0.0


def enough_resamples(pairs: int, most: int = MOST_RESAMPLES) -> int:
    """Resamples B for which the least p-value, 2 / (B + 1), is half of ALPHA after Holm."""
    return min(max(2000, math.ceil(4 * pairs / ALPHA)), most)


def too_few(resamples: int, pairs: int) -> bool:
    """Whether the smallest p-value of a share exceeds half of ALPHA after Holm over `pairs`."""
    return resamples < math.ceil(4 * pairs / ALPHA)


def mcnemar(a: Mask, b: Mask) -> McNemar:
    """McNemar's test of right answers (N, R) and (N, Q) on the same images of unseen classes.

    All images have equal weight, while T1 is a mean over classes, so the two may disagree if
    classes differ in size. With one run each, the test is exact (binomial for any number of
    discordant images). With several runs, an image counts for the model that is right in the larger
    share of its runs: a sign test over images, since seeds add no images.
    """
    gap = a.sum(axis=1) * b.shape[1] - b.sum(axis=1) * a.shape[1]
    return McNemar(int(np.count_nonzero(gap > 0)), int(np.count_nonzero(gap < 0)))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p-values in the given order, to compare with ALPHA."""
    adjusted = [0.0] * len(p)
    worst = 0.0
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        worst = max(worst, min(1.0, (len(p) - step) * p[i]))
        adjusted[i] = worst
    return adjusted


def seeds_needed(a: Sequence[float], b: Sequence[float]) -> tuple[int | None, str]:
    """Seeds that a two-sided t-test at 5 % needs to find the observed difference with 80 % power.

    A plan, not a test: it takes the observed difference and spread as the true ones.

    Args:
        a: Figure of each seed of model A.
        b: Figure of each seed of model B. The spread is the pooled standard deviation; a model with
            one seed adds nothing to it.

    Returns:
        Seeds per model, None if that cannot be said, and the result as a sentence.
    """
    difference = abs(fmean(a) - fmean(b))
    freedom = len(a) + len(b) - 2
    if difference <= 1e-9:
        return None, "not separated by seeds alone: their means are equal"
    if freedom == 0:
        return None, "one seed each says nothing of the spread over seeds"
    spread = math.sqrt((_squares(a) + _squares(b)) / freedom)
    if spread <= 1e-9:
        said = "the seeds of each model agree exactly, so more of them say nothing new"
        return 2, said
    each = _seeds_for(difference / spread)
    if each is None:
        said = f"not separated by seeds alone: it would take more than {MOST_SEEDS} each"
    elif more := max(0, *(each - len(group) for group in (a, b))):
        said = f"about {each} seeds each ({more} more) would separate them"
    else:
        said = f"{each} seeds each are enough for a difference like this, and are there"
    return each, said


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return math.fsum((v - mean) ** 2 for v in values)


def _seeds_for(effect: float) -> int | None:
    """The least n per group with POWER for a standardised difference `effect` > 0.

    None beyond MOST_SEEDS.
    """
    # The normal approximation is close here, and if it is beyond the limit the exact n is too.
    if (2.8 / effect) ** 2 > MOST_SEEDS:
        return None
    sizes = range(2, 2**14 + 1)  # the power of two above MOST_SEEDS
    place = bisect_left(sizes, POWER, key=lambda n: t_test_power(effect, n))
    return sizes[place] if place < len(sizes) else None


def t_test_power(effect: float, n: int) -> float:
    """Power of the two-sided t-test at ALPHA.

    `effect` is the difference in standard deviations; each group has n >= 2 values.
    """
    from scipy.special import nctdtr, stdtrit

    freedom, shift = 2 * n - 2, effect * math.sqrt(n / 2)
    edge = stdtrit(freedom, 1 - ALPHA / 2)
    missed = float(nctdtr(freedom, shift, edge) - nctdtr(freedom, shift, -edge))
    # scipy's distribution is NaN for very large effects, whose power is 1.
    return 1.0 if math.isnan(missed) else 1.0 - missed
