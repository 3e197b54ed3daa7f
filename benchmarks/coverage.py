"""How often the intervals hold the truth, and how often two models that are equally good are told
apart.

    python benchmarks/coverage.py [--datasets N] [--resamples B] [--seed S] [--shape NAME]

Of each shape, test sets are drawn again and again for two models, from chances of a right answer
that differ from class to class.
The classes and their chances stay; which images come does not. Both models have the same chances,
in another order of the classes,
and share their luck with three images of five. The code that is measured is that of `compare`: all
models see one set of draws, so
that one call serves many data sets.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from zslkit.evaluation.bootstrap import resample
from zslkit.evaluation.metrics import harmonic_mean
from zslkit.evaluation.outcomes import SAMPLED, Outcomes
from zslkit.evaluation.significance import ALPHA, paired_difference

AT_ONCE = 200
"""Data sets of one call, which share their draws: the more calls, the less the luck of the draws
tells."""


@dataclass(frozen=True)
class Shape:
    """Images of each class of test_seen and test_unseen; what the models' true T1, S are about, in
    0..1, and the share of T1 in U."""

    seen: tuple[int, ...]
    unseen: tuple[int, ...]
    T1: float = 0.7
    S: float = 0.65
    kept: float = 0.8


SHAPES = {
    "digits": Shape((3,) * 150, (8,) * 50, T1=0.8),
    "sun": Shape((4, 4, 3, 4, 3) * 129, (3, 4, 4) * 24, T1=0.6, S=0.4),
    "cub": Shape((12,) * 114 + (11,) * 36, (60,) * 42 + (56,) * 8),
}
"""The built-in digits; a set like SUN, with 3 or 4 images of every class; a set like CUB."""


@dataclass(frozen=True)
class Found:
    """Shares in percent. held: figure -> how often its interval held the truth; difference: the
    same of H of one model less the other's.

    told_apart: how often p was below 5 % though the models are equally good.
    """

    held: dict[str, float]
    difference: float
    distinguish: float


def coverage(shape: Shape, datasets: int, resamples: int, seed: int = 0) -> Found:
    """Of that many data sets, with two models each."""
    rng = np.random.default_rng([seed, 0])
    s, t1 = (
        _chances(rng, mean, len(classes))
        for mean, classes in ((shape.S, shape.seen), (shape.T1, shape.unseen))
    )
    truth = {"S": 100 * s.mean(), "T1": 100 * t1.mean(), "U": 100 * shape.kept * t1.mean()}
    truth["H"] = float(harmonic_mean(truth["S"], truth["U"]))
    counts: list[list[float]] = []
    for begun in range(0, datasets, AT_ONCE):
        n = min(AT_ONCE, datasets - begun)
        drawn = resample(_outcomes(shape, s, t1, n, rng), resamples, seed + begun)
        held = [
            np.mean(
                [
                    (i := drawn.interval(name, [run])).low <= truth[name] <= i.high
                    for run in range(2 * n)
                ]
            )
            for name in SAMPLED
        ]
        pairs = [paired_difference(drawn, [run], [n + run]) for run in range(n)]
        held += [
            np.mean([p.interval.low <= 0 <= p.interval.high for p in pairs]),
            np.mean([p.p < ALPHA for p in pairs]),
        ]
        counts.append([n, *(n * share for share in held)])
    *figures, difference, distinguish = (100 * np.sum(counts, axis=0)[1:] / datasets).tolist()
    return Found(dict(zip(SAMPLED, figures, strict=True)), difference, distinguish)


def _chances(rng: np.random.Generator, mean: float, classes: int) -> np.ndarray:
    """Of a right answer in each class: some classes are easy and some hopeless."""
    return rng.beta(2 * mean, 2 * (1 - mean), classes)


def _outcomes(
    shape: Shape, s: np.ndarray, t1: np.ndarray, n: int, rng: np.random.Generator
) -> Outcomes:
    """Of n data sets, those of the first model of each before those of the second."""
    seen, unseen = (
        np.repeat(np.arange(len(classes)), classes) for classes in (shape.seen, shape.unseen)
    )
    right = [_right(rng, seen, s, n), _right(rng, unseen, t1, n)]
    kept = rng.random((len(unseen), 2 * n)) < shape.kept
    return Outcomes(seen, len(shape.seen) + unseen, right[0], right[1] & kept, right[1])


def _right(rng: np.random.Generator, labels: np.ndarray, chances: np.ndarray, n: int) -> np.ndarray:
    luck = rng.random((len(labels), n))
    other = np.where(rng.random(luck.shape) < 0.6, luck, rng.random(luck.shape))
    return np.hstack([luck < chances[labels, None], other < rng.permutation(chances)[labels, None]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", choices=SHAPES, help="none: all")
    given = parser.parse_args()
    print(
        f"{given.datasets} data sets of two models, {given.resamples} resamples; the truth lies in "
        "the interval, %"
    )
    print("shape    T1    U     S     H     difference of H  told apart wrongly")
    for name in [given.shape] if given.shape else SHAPES:
        found = coverage(SHAPES[name], given.datasets, given.resamples, given.seed)
        held = "  ".join(f"{found.held[figure]:4.1f}" for figure in SAMPLED)
        print(f"{name:<7}  {held}  {found.difference:<15.1f}  {found.told_apart:.1f}", flush=True)


if __name__ == "__main__":
    main()
