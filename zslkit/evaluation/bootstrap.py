"""How much of a figure is the luck of which test images were drawn: the stratified bootstrap over images within classes.

In each resample every class keeps its number of images, drawn from its own with replacement, so that a mean over
classes keeps its meaning. All runs see the same resamples: that is what makes their differences paired. Training is
not repeated, so an interval says nothing of seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from zslkit.evaluation.metrics import Floats, Index
from zslkit.evaluation.outcomes import Outcomes, class_means, harmonic, image_weights

LEVEL: Final = 0.95
RESAMPLES: Final = 1000
AT_ONCE: Final = 4_000_000
"""Drawn images that are held at a time, 32 MB of them."""


@dataclass(frozen=True)
class Interval:
    """A figure with its percentile interval at LEVEL, in the figure's unit."""

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
        low, high = percentiles(self.drawn[name][:, runs].mean(axis=1))
        return Interval(float(self.value[name][runs].mean()), low, high)


def figures(outcomes: Outcomes) -> dict[str, Floats]:
    """T1, U, S and H of all runs on the real test sets, name -> (R,) in percent."""
    t1, u = (class_means(right, outcomes.unseen_labels) for right in (outcomes.T1, outcomes.U))
    s = class_means(outcomes.S, outcomes.seen_labels)
    return {"T1": t1, "U": u, "S": s, "H": harmonic(s, u)}


def resample(outcomes: Outcomes, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """The figures of all runs on `resamples` draws of the test images; same seed, same draws."""
    seen_rng, unseen_rng = (np.random.default_rng([seed, side]) for side in (0, 1))
    value = figures(outcomes)
    both = _draws(np.concatenate([outcomes.T1, outcomes.U], axis=1).astype(np.float64), outcomes.unseen_labels, resamples, unseen_rng)
    drawn = {
        "T1": both[:, : outcomes.runs],
        "U": both[:, outcomes.runs :],
        "S": _draws(outcomes.S.astype(np.float64), outcomes.seen_labels, resamples, seen_rng),
    }
    drawn["H"] = harmonic(drawn["S"], drawn["U"])
    return Resampled(value, drawn)


def percentiles(drawn: Floats) -> tuple[float, float]:
    """The interval that holds LEVEL of drawn (B,), equal shares left out on both sides."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _draws(right: Floats, labels: Index, resamples: int, rng: np.random.Generator) -> Floats:
    """Means over classes in percent, (B, R), of right (N, R) on resamples of the images within classes."""
    order = np.argsort(labels, kind="stable")
    labels, n = labels[order], len(labels)
    weighted = right[order] * image_weights(labels)[:, None]
    per_class = np.bincount(labels)
    start = (np.cumsum(per_class) - per_class)[labels]
    size = per_class[labels]
    means = []
    for done in range(0, resamples, step := max(1, AT_ONCE // n)):
        count = min(step, resamples - done)
        # Uniform numbers scaled to each class's size are much faster than bounded integers of many different bounds.
        picked = start + (rng.random((count, n)) * size).astype(np.int64)
        picked += (np.arange(count) * n)[:, None]
        times = np.bincount(picked.ravel(), minlength=count * n).reshape(count, n)
        means.append(times.astype(np.float64) @ weighted)
    return np.concatenate(means)
