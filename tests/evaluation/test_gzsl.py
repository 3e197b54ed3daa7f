"""T1, U, S, H, AUSUC and the choice of gamma."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslkit.errors import DataError, UserError
from zslkit.evaluation.gzsl import VALIDATION_NAMES, chance, evaluate, peak
from zslkit.evaluation.metrics import Curve, per_class_accuracy
from zslkit.evaluation.sets import checked_sets

SEEN = np.array([True, True, False, False])


def hand_case() -> dict[str, Any]:
    """Two seen and two unseen classes. Uncalibrated: S = 100, U = 25, T1 = 75, worked out below."""
    return {
        "test_seen_scores": np.array([[5.0, 0, 4, 0], [0, 5.0, 1, 0]]),
        "test_seen_labels": np.array([0, 1]),
        # class 2: one image answered 2, one answered 0 (2 among the unseen); class 3: answered 1
        # (3), and 0 (2, wrong in both)
        "test_unseen_scores": np.array(
            [[0, 0, 3.0, 0], [3.0, 0, 1, 0], [0, 4.0, 0, 2], [2.0, 0, 1, 0]]
        ),
        "test_unseen_labels": np.array([2, 2, 3, 3]),
        "seen": SEEN,
    }


def random_case(seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    n_seen, n_unseen = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    seen = rng.permutation(np.arange(n_seen + n_unseen) < n_seen)
    left, right = int(rng.integers(1, 20)), int(rng.integers(1, 20))
    a, b = rng.choice(np.flatnonzero(seen), left), rng.choice(np.flatnonzero(~seen), right)
    x, y = rng.integers(0, 32, (left, len(seen))) / 8, rng.integers(0, 32, (right, len(seen))) / 8
    x[np.arange(left), a] += 1
    y[np.arange(right), b] += 1
    return x, a, y, b, seen


def test_the_hand_case() -> None:
    m = evaluate(**hand_case())
    assert (m.T1, m.U, m.S) == (75.0, 25.0, 100.0)
    assert pytest.approx(40.0) == m.H
    assert m.per_class.tolist() == [100.0, 100.0, 50.0, 0.0]
    np.testing.assert_array_equal(m.per_class_zsl, [np.nan, np.nan, 100.0, 50.0])
    assert m.figures() == {"T1": m.T1, "U": m.U, "S": m.S, "H": m.H, "AUSUC": m.AUSUC}


def test_the_area_of_the_hand_case() -> None:
    # Right unseen images come in at gamma -3, 2, 2 (U = .25, .5 + .25 = .75); seen ones leave at 1
    # and 4 (S = .5, 0).
    # Area: U from 0 to .25 at S = 1; from .25 to .75 at S = .5.
    assert pytest.approx(0.25 + 0.25) == evaluate(**hand_case()).AUSUC


def test_calibration_by_infinity_turns_gzsl_into_zsl() -> None:
    all_unseen, all_seen = (
        evaluate(**hand_case(), gamma=np.inf),
        evaluate(**hand_case(), gamma=-np.inf),
    )
    assert (all_unseen.S, all_unseen.U, all_unseen.H) == (0.0, all_unseen.T1, 0.0)
    assert all_seen.U == 0.0
    assert all_seen.S == 100.0


def test_calibration_changes_neither_t1_nor_the_area() -> None:
    plain, calibrated = evaluate(**hand_case()), evaluate(**hand_case(), gamma=1.5)
    assert (plain.T1, plain.AUSUC) == (calibrated.T1, calibrated.AUSUC)
    assert plain.S != calibrated.S


def test_chance_is_one_class_in_so_many() -> None:
    assert chance(SEEN) == {"T1": 50.0, "U": 25.0, "S": 25.0, "H": 25.0}
    assert evaluate(**hand_case()).chance == chance(SEEN)


def test_classes_without_images_are_in_no_mean_and_are_kept_in_the_result() -> None:
    case = hand_case()
    keep = case["test_unseen_labels"] == 2
    case["test_unseen_scores"], case["test_unseen_labels"] = (
        case["test_unseen_scores"][keep],
        np.array([2, 2]),
    )
    case["test_seen_scores"], case["test_seen_labels"] = case["test_seen_scores"][:1], np.array([0])
    m = evaluate(**case)
    assert (m.U, m.T1, m.S) == (50.0, 100.0, 100.0)
    assert (m.missing_seen, m.missing_unseen) == ((1,), (3,))
    assert np.isnan(m.per_class[[1, 3]]).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100_000))
def test_the_figures_agree_with_the_definitions(seed: int) -> None:
    x, a, y, b, seen = random_case(seed)
    m = evaluate(x, a, y, b, seen)
    everyone = np.arange(len(seen))
    assert pytest.approx(100 * np.nanmean(per_class_accuracy(x, a, everyone))) == m.S
    assert pytest.approx(100 * np.nanmean(per_class_accuracy(y, b, everyone))) == m.U
    assert pytest.approx(100 * np.nanmean(per_class_accuracy(y, b, np.flatnonzero(~seen)))) == m.T1
    assert min(m.S, m.U) - 1e-9 <= m.H <= max(m.S, m.U) + 1e-9
    assert m.U <= m.T1 + 1e-9


def best_gamma(*fold: Any) -> tuple[float, float]:
    """Gamma and H of the scores of a validation fold."""
    return peak(checked_sets(*fold, VALIDATION_NAMES).curve())


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 100_000))
def test_no_gamma_is_better_than_the_best_and_it_gives_the_h_it_promises(seed: int) -> None:
    case = random_case(seed)
    gamma, promised = best_gamma(*case)
    assert pytest.approx(promised, abs=1e-9) == evaluate(*case, gamma=gamma).H or promised == 0.0
    for other in (
        np.arange(-5, 5, 1 / 8) + 1 / 16
    ):  # scores lie on a grid of eighths: this hits every interval
        assert promised + 1e-9 >= evaluate(*case, gamma=float(other)).H


def test_the_best_gamma_is_the_middle_of_its_interval() -> None:
    seen = np.array([True, False])
    # Both are right for gamma between 1 and 3.
    assert best_gamma(
        np.array([[3.0, 0.0]]), np.array([0]), np.array([[1.0, 0.0]]), np.array([1]), seen
    ) == (2.0, 100.0)


def test_of_two_equally_good_intervals_the_wider_is_taken() -> None:
    seen = np.array([True, False])
    # U comes in at 0, 1, 10 in thirds, S leaves at .5, 5, 20 in thirds: H is 2/3 on (1, 5) and on
    # (5, 10) less, so
    # the two intervals of H = 2/3 are (0.5, 1) with S = 2/3, U = 1/3 (less) and (1, 5) with S = U =
    # 2/3.
    x = np.array([[0.5, 0], [5.0, 0], [20.0, 0]])
    y = np.array([[0.0, 0], [1.0, 0], [10.0, 0]])
    gamma, h = best_gamma(x, np.zeros(3, dtype=int), y, np.ones(3, dtype=int), seen)
    assert (gamma, h) == (3.0, pytest.approx(200 / 3))
    # With a pair that swaps S and U, H is the same on (0, 1) and (2, 5): the wider one is (2, 5).
    x, y = np.array([[1.0, 0], [5.0, 0]]), np.array([[0.0, 0], [2.0, 0]])
    gamma, h = best_gamma(x, np.zeros(2, dtype=int), y, np.ones(2, dtype=int), seen)
    assert (gamma, h) == (3.5, pytest.approx(200 / 3))


def rectangle(low: float, high: float) -> Curve:
    """Both images are right between low and high, one of them elsewhere: H is 100 there and 0
    elsewhere."""
    return Curve(np.array([low, high]), np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0]))


def test_the_best_gamma_of_several_folds_is_good_for_most_of_them_and_no_mean() -> None:
    folds = [rectangle(0.0, 2.0), rectangle(1.5, 3.5), rectangle(5.0, 7.0)]
    # Alone: 1, 2.5 and 6, which is 3.17 in the mean, where the second fold alone is right. The
    # first two overlap in (1.5, 2).
    assert peak(*folds) == (1.75, pytest.approx(200 / 3))
    assert peak(*folds[:1]) == (1.0, 100.0)
    assert peak(*folds[::-1]) == peak(*folds)
    # Without an overlap the widest wins, and a fold that nothing helps counts as 0.
    assert peak(rectangle(0.0, 1.0), rectangle(3.0, 6.0)) == (4.5, 50.0)
    nothing = Curve(np.empty(0), np.zeros(1), np.zeros(1))
    assert peak(rectangle(0.0, 1.0), nothing) == (0.5, 50.0)
    assert peak(nothing, nothing) == (0.0, 0.0)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 100_000), min_size=2, max_size=4))
def test_no_gamma_has_a_higher_mean_h_than_the_best_one_of_the_folds(seeds: list[int]) -> None:
    cases = [random_case(seed) for seed in seeds]
    gamma, promised = peak(*(checked_sets(*case).curve() for case in cases))
    mean = np.mean([evaluate(*case, gamma=gamma).H for case in cases])
    assert pytest.approx(promised, abs=1e-9) == mean or promised == 0.0
    for other in np.arange(-5, 5, 1 / 8) + 1 / 16:
        assert promised + 1e-9 >= np.mean([evaluate(*case, gamma=float(other)).H for case in cases])


def test_a_curve_tells_s_and_u_under_a_gamma() -> None:
    curve = rectangle(0.0, 2.0)
    assert [curve.at(gamma) for gamma in (-1.0, 1.0, 3.0)] == [
        (100.0, 0.0),
        (100.0, 100.0),
        (0.0, 100.0),
    ]


def test_gamma_is_zero_if_nothing_can_be_won() -> None:
    seen = np.array([True, False])
    assert best_gamma(
        np.array([[1.0, 0.0]]), np.array([0]), np.array([[3.0, 0.0]]), np.array([1]), seen
    ) == (0.0, 0.0)
    same = np.zeros((2, 2))
    assert best_gamma(same, np.zeros(2, dtype=int), same, np.ones(2, dtype=int), seen) == (0.0, 0.0)


def test_half_precision_scores_are_welcome() -> None:
    case = {k: v.astype(np.float16) if v.dtype == np.float64 else v for k, v in hand_case().items()}
    assert evaluate(**case).figures() == evaluate(**hand_case()).figures()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"test_unseen_scores": np.array([[0, 0, np.nan, 0]] * 4)},
            ["test_unseen", "4 of 4 images", "class 2", "nan"],
        ),
        (
            {"test_seen_scores": np.array([[0, 0, 0, np.inf], [0, 0, 0, 0.0]])},
            ["test_seen", "1 of 2 images", "class 3", "inf"],
        ),
        ({"test_seen_scores": np.zeros((2, 3))}, ["test_seen", "2 images for 4 classes", "(2, 3)"]),
        ({"test_seen_scores": np.zeros((3, 4))}, ["test_seen", "(3, 4)"]),
        ({"test_seen_scores": np.zeros((2, 4), dtype=int)}, ["test_seen", "floating-point", "int"]),
        (
            {"test_seen_scores": np.zeros((0, 4)), "test_seen_labels": np.zeros(0, dtype=int)},
            ["test_seen", "no images"],
        ),
        ({"test_seen_labels": np.array([0.0, 1.0])}, ["test_seen", "class ids"]),
        ({"test_seen_labels": np.array([0, 9])}, ["test_seen", "outside 0..3"]),
        ({"test_seen_labels": np.array([0, -1])}, ["test_seen", "outside 0..3"]),
        ({"test_seen_labels": np.array([0, 2])}, ["test_seen", "other test set", "class 2"]),
        ({"seen": np.ones(4, dtype=bool)}, ["4 classes is unseen"]),
        ({"seen": np.zeros(4, dtype=bool)}, ["4 classes is seen"]),
        ({"seen": np.array([1, 1, 0, 0])}, ["True and False"]),
        ({"seen": np.array([True])}, ["1 classes is unseen"]),
    ],
)
def test_scores_that_cannot_be_trusted_are_refused_by_name(
    change: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(DataError) as error:
        evaluate(**{**hand_case(), **change})
    for word in words:
        assert word in str(error.value)
    if "test_seen" not in words:
        return
    case = {**hand_case(), **change}
    with pytest.raises(DataError, match="validation images of seen classes"):
        best_gamma(*case.values())


def test_gamma_must_be_a_number() -> None:
    with pytest.raises(UserError, match="gamma is NaN"):
        evaluate(**hand_case(), gamma=float("nan"))


def test_the_evaluator_needs_numpy_alone() -> None:
    code = (
        "import sys, zslkit.evaluation.gzsl; print(sorted({'torch', 'sklearn', 'scipy', "
        "'timm'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
