"""Metrics that read a few rows at a time are those of the whole table, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.evaluation import chunks
from zslkit.evaluation.bootstrap import resample
from zslkit.evaluation.catalog import METRICS, Subject
from zslkit.evaluation.chunks import row_chunks
from zslkit.evaluation.gzsl import measure, peak
from zslkit.evaluation.metrics import per_class_accuracy, seen_unseen_margin, seen_unseen_margin_of
from zslkit.evaluation.outcomes import SAMPLED, outcomes
from zslkit.evaluation.ranking import all_ranks
from zslkit.evaluation.sets import answered_sets, checked_sets

seeds, few = st.integers(0, 100_000), st.integers(1, 40)


def random_case(seed: int) -> tuple[Any, ...]:
    """Both sets as `checked_sets` takes them: coarse scores with many ties, or probabilities, or
    float32 noise."""
    rng = np.random.default_rng(seed)
    seen = rng.permutation(np.arange(int(rng.integers(2, 9))) < int(rng.integers(1, 3)))
    if seen.all():
        seen[0] = False
    parts: list[Any] = []
    for side in (seen, ~seen):
        shape = (int(rng.integers(1, 25)), len(seen))
        kinds = [
            rng.integers(0, 6, shape) / 4,
            rng.dirichlet(np.ones(len(seen)), shape[0]),
            rng.standard_normal(shape) * 5,
        ]
        parts += [kinds[seed % 3].astype(np.float32), rng.choice(np.flatnonzero(side), shape[0])]
    return (*parts, seen)


def all_of(case: tuple[Any, ...], gamma: float, at_once: int) -> list[Any]:
    """Every metric, rank, answer, curve point, resample and the best gamma, with so many scores at
    a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "AT_ONCE", at_once)
        sets = checked_sets(*case)
        subject = Subject(sets, gamma, 0.25, tuple(f"class {k}" for k in range(len(case[-1]))))
        found: list[Any] = [(name, metric.compute(subject)) for name, metric in METRICS.items()]
        found += [ranks.tolist() for ranks in all_ranks(sets, gamma).values()]
        found += [
            per_class_accuracy(case[0], case[1], np.arange(len(case[-1]))).tolist(),
            peak(sets.curve()),
        ]
        drawn = resample(outcomes(sets, gamma), 20).drawn
        return [*found, *(drawn[name].tolist() for name in SAMPLED)]


@settings(deadline=None, max_examples=60)
@given(seeds, few, st.sampled_from([0.0, 0.5, -1.25, np.inf, -np.inf]))
def test_no_metric_depends_on_how_many_rows_are_read_at_a_time(
    seed: int, at_once: int, gamma: float
) -> None:
    case = random_case(seed)
    # Compared as text, since NaN stands for a class without images and is not equal to itself.
    assert repr(all_of(case, gamma, at_once)) == repr(all_of(case, gamma, 10**9))


@settings(deadline=None, max_examples=60)
@given(seeds, few)
def test_answers_of_scores_that_are_not_kept_are_those_of_the_table(seed: int, batch: int) -> None:
    of_seen, seen_labels, of_unseen, unseen_labels, seen = random_case(seed)

    def coming(scores: NDArray[Any]) -> Any:
        return (scores[i : i + batch] for i in range(0, len(scores), batch))

    streamed = answered_sets(coming(of_seen), seen_labels, coming(of_unseen), unseen_labels, seen)
    kept = checked_sets(of_seen, seen_labels, of_unseen, unseen_labels, seen)
    assert measure(streamed, 0.5).figures() == measure(kept, 0.5).figures()
    assert peak(streamed.curve()) == peak(kept.curve())


@settings(deadline=None, max_examples=60)
@given(seeds, few)
def test_the_answers_are_those_of_argmax_over_the_whole_table(seed: int, at_once: int) -> None:
    scores, *_, seen = random_case(seed)
    found = seen_unseen_margin_of((chunk for _, chunk in row_chunks(scores, at_once)), seen)
    np.testing.assert_array_equal(found.answers(0.0), scores.argmax(axis=1))
    masked = [
        np.where(side, scores.astype(np.float64), -np.inf).max(axis=1) for side in (seen, ~seen)
    ]
    np.testing.assert_array_equal(found.breakpoint, masked[0] - masked[1])


@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 50))
def test_chunks_are_the_rows_in_order_each_once_and_never_cut(
    rows: int, columns: int, at_once: int
) -> None:
    table = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    parts = list(row_chunks(table, at_once))
    assert all(len(part) and part.size <= max(at_once, columns) for _, part in parts)
    assert [i for place, _ in parts for i in range(*place.indices(rows))] == list(range(rows))
    assert np.array_equal(np.concatenate([table[:0], *(part for _, part in parts)]), table)


def test_a_table_that_begins_between_two_words_is_read_aligned() -> None:
    raw = np.zeros(1 + 4 * 12, dtype=np.uint8)
    odd = raw[1:].view(np.float32).reshape(3, 4)
    odd[:] = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert not odd.flags.aligned
    assert all(chunk.flags.aligned for _, chunk in row_chunks(odd, 4))
    assert seen_unseen_margin(odd, np.array([True, True, False, False])).best_seen.tolist() == [
        1,
        1,
        1,
    ]


def test_scores_that_are_not_finite_are_counted_over_all_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks, "AT_ONCE", 4)
    scores = np.zeros((5, 2), dtype=np.float32)
    scores[3, 1] = scores[4] = np.nan
    with pytest.raises(DataError, match=r"test_seen: 2 of 5 images .*image 3, class 1: nan"):
        checked_sets(
            scores,
            np.zeros(5, dtype=int),
            scores[:1],
            np.ones(1, dtype=int),
            np.array([True, False]),
        )


def test_scores_that_stop_early_are_refused() -> None:
    one = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(DataError, match="test_unseen: there are scores of 1 images for 2 labels"):
        answered_sets([one], np.array([0]), [one], np.array([1, 1]), np.array([True, False]))
