"""The formulas, against hand-made cases, a brute-force sweep over gamma, and scikit-learn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from zslkit.evaluation.metrics import (
    Curve,
    harmonic_mean,
    per_class_accuracy,
    per_class_recall,
    seen_unseen_curve,
    seen_unseen_margin,
)


class Case(NamedTuple):
    """Scores on a coarse grid, so that equal scores and equal breakpoints are common and sums are
    exact."""

    seen_scores: NDArray[np.float64]
    seen_labels: NDArray[np.int64]
    unseen_scores: NDArray[np.float64]
    unseen_labels: NDArray[np.int64]
    seen: NDArray[np.bool_]


def make(seed: int, levels: int | None = 8) -> Case:
    """A small random case; levels: how many different scores there are, None: no two are equal."""
    rng = np.random.default_rng(seed)
    n_seen, n_unseen = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    seen = rng.permutation(np.arange(n_seen + n_unseen) < n_seen)

    def scores(n: int) -> NDArray[np.float64]:
        shape = (n, len(seen))
        return (
            rng.integers(0, levels, shape) / 4
            if levels
            else rng.permutation(n * len(seen)).reshape(shape) / 4
        )

    left, right = int(rng.integers(1, 15)), int(rng.integers(1, 15))
    return Case(
        scores(left),
        rng.choice(np.flatnonzero(seen), left),
        scores(right),
        rng.choice(np.flatnonzero(~seen), right),
        seen,
    )


def curve_of(case: Case) -> Curve:
    left, right = (
        seen_unseen_margin(case.seen_scores, case.seen),
        seen_unseen_margin(case.unseen_scores, case.seen),
    )
    return seen_unseen_curve(left, case.seen_labels, right, case.unseen_labels)


def swept(case: Case) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """S, U and the area by trying one gamma in every gap between breakpoints, argmax and
    scikit-learn doing the rest."""
    tables = np.concatenate([case.seen_scores, case.unseen_scores])
    gaps = np.unique(tables[:, case.seen].max(axis=1) - tables[:, ~case.seen].max(axis=1))
    gammas = np.concatenate([[gaps[0] - 1], (gaps[1:] + gaps[:-1]) / 2, [gaps[-1] + 1]])
    s, u = [], []
    for gamma in gammas:
        bonus = np.where(case.seen, 0, gamma)
        s.append(balanced(case.seen_labels, (case.seen_scores + bonus).argmax(axis=1)))
        u.append(balanced(case.unseen_labels, (case.unseen_scores + bonus).argmax(axis=1)))
    S, U = np.array(s), np.array(u)
    return S, U, float(np.sum((U[1:] - U[:-1]) * (S[1:] + S[:-1]) / 2))


def balanced(labels: Any, answers: Any) -> float:
    # scikit-learn warns that an answer is a class without images; here that is what a wrong answer
    # may be.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(balanced_accuracy_score(labels, answers))


seeds = st.integers(0, 100_000)


def test_a_small_class_counts_as_much_as_a_large_one() -> None:
    scores = np.eye(3)[[0, 0, 0, 0, 2]]  # four images answered 0, one answered 2
    labels = np.array([0, 0, 0, 1, 2])
    np.testing.assert_array_equal(per_class_accuracy(scores, labels, np.arange(3)), [1.0, 0.0, 1.0])


def test_only_candidates_can_be_answered_and_the_order_asked_for_is_kept() -> None:
    scores = np.array([[9.0, 1.0, 2.0], [9.0, 3.0, 2.0]])
    labels = np.array([2, 2])
    np.testing.assert_array_equal(
        per_class_accuracy(scores, labels, np.array([2, 1])), [0.5, np.nan]
    )


def test_the_class_that_stands_first_wins_at_equal_scores() -> None:
    scores = np.zeros((2, 3))
    np.testing.assert_array_equal(
        per_class_accuracy(scores, np.array([1, 2]), np.array([2, 1])), [0.0, 1.0]
    )
    seen = np.array([False, True, False])
    assert seen_unseen_margin(scores, seen).answers(0.0).tolist() == [0, 0]
    assert seen_unseen_margin(scores, ~seen).answers(0.0).tolist() == [0, 0]


def test_recall_is_unknown_without_images() -> None:
    np.testing.assert_array_equal(
        per_class_recall(np.array([0, 1]), np.array([0, 0]), 2), [0.5, np.nan]
    )


def test_harmonic_mean() -> None:
    assert harmonic_mean(30.0, 60.0) == pytest.approx(40.0)
    assert harmonic_mean(50.0, 50.0) == 50.0


def test_harmonic_mean_is_zero_when_no_unseen_image_is_right() -> None:
    assert harmonic_mean(80.0, 0.0) == 0.0
    assert harmonic_mean(0.0, 0.0) == 0.0


def test_the_curve_of_two_images_by_hand() -> None:
    seen = np.array([True, False])
    # The seen image is right below gamma = 3, the unseen one above gamma = 1: between them both
    # are.
    curve = curve_of(
        Case(np.array([[3.0, 0.0]]), np.array([0]), np.array([[1.0, 0.0]]), np.array([1]), seen)
    )
    assert curve.breakpoints.tolist() == [1.0, 3.0]
    assert curve.seen.tolist() == [1.0, 1.0, 0.0]
    assert curve.unseen.tolist() == [0.0, 1.0, 1.0]
    assert curve.ausuc == 1.0
    # The other way round there is no gamma for both.
    other = Case(np.array([[1.0, 0.0]]), np.array([0]), np.array([[3.0, 0.0]]), np.array([1]), seen)
    assert curve_of(other).ausuc == 0.0


def test_a_tie_of_both_sets_counts_half() -> None:
    same = np.array([[2.0, 0.0]])
    case = Case(same, np.array([0]), same, np.array([1]), np.array([True, False]))
    assert curve_of(case).ausuc == 0.5


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(seeds, st.sampled_from([2, 8, None]))
def test_the_curve_equals_a_sweep_over_all_gammas(seed: int, levels: int | None) -> None:
    case = make(seed, levels)
    curve = curve_of(case)
    S, U, area = swept(case)
    assert curve.ausuc == pytest.approx(area, abs=1e-12)
    points = {(round(s, 9), round(u, 9)) for s, u in zip(S, U, strict=True)}
    assert {
        (round(s, 9), round(u, 9)) for s, u in zip(curve.seen, curve.unseen, strict=True)
    } == points


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(-12, 12))
def test_answers_are_those_of_argmax_even_on_a_breakpoint(seed: int, quarters: int) -> None:
    case, gamma = make(seed), quarters / 4
    for table in (case.seen_scores, case.unseen_scores):
        plain = (table + np.where(case.seen, 0, gamma)).argmax(axis=1)
        np.testing.assert_array_equal(seen_unseen_margin(table, case.seen).answers(gamma), plain)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_per_class_accuracy_averages_to_balanced_accuracy(seed: int) -> None:
    case = make(seed)
    everyone = np.arange(len(case.seen))
    accuracies = per_class_accuracy(case.seen_scores, case.seen_labels, everyone)
    assert np.nanmean(accuracies) == pytest.approx(
        balanced(case.seen_labels, case.seen_scores.argmax(axis=1))
    )


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_the_order_of_images_and_classes_changes_nothing(seed: int) -> None:
    case, rng = make(seed, levels=None), np.random.default_rng(seed)
    area = curve_of(case).ausuc
    i, j = rng.permutation(len(case.seen_labels)), rng.permutation(len(case.unseen_labels))
    shuffled = Case(
        case.seen_scores[i],
        case.seen_labels[i],
        case.unseen_scores[j],
        case.unseen_labels[j],
        case.seen,
    )
    assert curve_of(shuffled).ausuc == pytest.approx(area, abs=1e-12)
    order = rng.permutation(len(case.seen))
    new_id = np.argsort(order)
    renamed = Case(
        case.seen_scores[:, order],
        new_id[case.seen_labels],
        case.unseen_scores[:, order],
        new_id[case.unseen_labels],
        case.seen[order],
    )
    assert curve_of(renamed).ausuc == pytest.approx(area, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_constant_per_image_and_a_constant_for_all_unseen_classes_leave_the_area(
    seed: int,
) -> None:
    case, rng = make(seed), np.random.default_rng(seed)
    shifts = rng.integers(-8, 8, (len(case.seen_labels), 1)) / 4
    shifted = case._replace(seen_scores=case.seen_scores + shifts)
    assert curve_of(shifted).ausuc == curve_of(case).ausuc
    bonus = np.where(case.seen, 0.0, 1.5)
    biased = case._replace(
        seen_scores=case.seen_scores + bonus, unseen_scores=case.unseen_scores + bonus
    )
    assert curve_of(biased).ausuc == curve_of(case).ausuc


def test_scores_that_half_precision_holds_apart_stay_apart() -> None:
    scores = np.array([[1.0, 1.0009765625]], dtype=np.float16)  # neighbours in float16
    assert seen_unseen_margin(scores, np.array([True, False])).answers(0.0).tolist() == [1]


def test_a_benchmark_of_the_size_of_sun_is_exact_at_both_ends() -> None:
    rng = np.random.default_rng(0)
    seen = np.arange(717) < 645
    left, right = rng.standard_normal((1000, 717)), rng.standard_normal((1000, 717))
    labels, other = rng.integers(0, 645, 1000), rng.integers(645, 717, 1000)
    left[np.arange(1000), labels] += 3
    right[np.arange(1000), other] += 3
    curve = curve_of(Case(left, labels, right, other, seen))
    assert curve.unseen[0] == 0.0
    assert curve.seen[-1] == 0.0
    assert curve.unseen[-1] == pytest.approx(
        np.nanmean(per_class_accuracy(right, other, np.flatnonzero(~seen))), abs=1e-12
    )
    assert curve.seen[0] == pytest.approx(
        np.nanmean(per_class_accuracy(left, labels, np.flatnonzero(seen))), abs=1e-12
    )
