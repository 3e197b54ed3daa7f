"""How long the evaluator takes on made-up scores: all metrics, the curve, and intervals of one run.

    python benchmarks/evaluate.py [--images N] [--classes C] [--unseen U]

Half of the images are of seen classes. The default is larger than the test sets of any benchmark of
the field with 717 classes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from zslkit.evaluation.bootstrap import resample
from zslkit.evaluation.catalog import METRICS, Subject
from zslkit.evaluation.gzsl import measure
from zslkit.evaluation.outcomes import outcomes, together
from zslkit.evaluation.sets import TestSets, checked_sets
from zslkit.evaluation.significance import paired_difference


def made_up(images: int, classes: int, unseen: int) -> TestSets:
    """Scores float32 in which the true class stands out a little."""
    rng = np.random.default_rng(0)
    seen = np.arange(classes) < classes - unseen
    parts: list[Any] = []
    for ids in (np.flatnonzero(seen), np.flatnonzero(~seen)):
        labels = rng.choice(ids, images // 2)
        scores = rng.standard_normal((len(labels), classes), dtype=np.float32)
        scores[np.arange(len(labels)), labels] += 3
        parts += [scores, labels]
    return checked_sets(*parts, seen)


def seconds(name: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    print(f"{name:<44} {time.perf_counter() - began:7.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=717)
    parser.add_argument("--unseen", type=int, default=72)
    given = parser.parse_args()
    print(f"{given.images} images, {given.classes} classes of which {given.unseen} are unseen")
    sets = made_up(given.images, given.classes, given.unseen)
    seconds("check the scores, best class of each side", lambda: made_up_again(sets))
    seconds("the curve as points", lambda: sets.curve().points())
    seconds("T1, U, S, H, AUSUC", lambda: measure(sets))
    names = tuple(str(k) for k in range(given.classes))
    for metric in METRICS.values():
        seconds(f"  {metric.name}", lambda m=metric: m.compute(Subject(sets, 0.0, None, names)))  # type: ignore[misc]
    found = outcomes(sets, 0.0)
    seconds("1000 resamples of T1, U, S, H", lambda: resample(found))
    both = together([found, found])
    seconds(
        "2000 resamples of two runs, paired",
        lambda: paired_difference(resample(both, 2000), [0], [1]),
    )


def made_up_again(sets: TestSets) -> TestSets:
    return checked_sets(
        sets.test_seen.scores,
        sets.test_seen.labels,
        sets.test_unseen.scores,
        sets.test_unseen.labels,
        sets.seen,
    )


if __name__ == "__main__":
    main()
