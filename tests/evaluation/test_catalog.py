"""Confusion, confidence, ranks and the catalog of metrics, against cases worked out by hand and
against plain sweeps."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from zslkit.errors import DataError, UnknownName
from zslkit.evaluation.catalog import METRICS, Subject, chosen
from zslkit.evaluation.confidence import are_probabilities, binned_error, expected_calibration_error
from zslkit.evaluation.confusion import confusion_table, crossings, largest
from zslkit.evaluation.gzsl import measure, peak
from zslkit.evaluation.ranking import all_ranks, mean_rank, ranks, top_k
from zslkit.evaluation.sets import TestSets, checked_sets

SEEN = np.array([True, True, False, False])


def hand_case() -> TestSets:
    """Two seen and two unseen classes; at gamma 0 the answers are 0, 2 and 2, 0, 1, 3."""
    seen_scores = np.array([[5.0, 0, 4, 0], [0, 1.0, 3, 0]])
    unseen_scores = np.array([[0, 0, 3.0, 0], [3.0, 0, 1, 0], [0, 4.0, 0, 2], [2.0, 0, 1, 5]])
    return checked_sets(seen_scores, np.array([0, 1]), unseen_scores, np.array([2, 2, 3, 3]), SEEN)


def random_case(seed: int, levels: int = 8) -> TestSets:
    """Scores on a coarse grid, so that ties and equal breakpoints are common."""
    rng = np.random.default_rng(seed)
    n_seen, n_unseen = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    seen = rng.permutation(np.arange(n_seen + n_unseen) < n_seen)
    left, right = int(rng.integers(1, 20)), int(rng.integers(1, 20))
    tables = [rng.integers(0, levels, (n, len(seen))) / 4 for n in (left, right)]
    return checked_sets(
        tables[0], rng.choice(np.flatnonzero(seen), left), tables[1], rng.choice(np.flatnonzero(
            ~seen), right), seen
    )  # fmt: skip


def subject(sets: TestSets, gamma: float = 0.0, validated: float | None = None) -> Subject:
    return Subject(sets, gamma, validated, tuple(f"class {k}" for k in range(sets.n_classes)))


def bonus(sets: TestSets, gamma: float) -> Any:
    return np.where(sets.seen, 0.0, gamma)


seeds = st.integers(0, 100_000)


def test_images_that_cross_between_seen_and_unseen_by_hand() -> None:
    assert crossings(hand_case()) == {"seen_as_unseen": 50.0, "unseen_as_seen": 50.0}
    assert crossings(hand_case(), np.inf) == {"seen_as_unseen": 100.0, "unseen_as_seen": 0.0}
    assert crossings(hand_case(), -np.inf) == {"seen_as_unseen": 0.0, "unseen_as_seen": 100.0}


def test_the_confusion_table_by_hand() -> None:
    table = confusion_table(hand_case())
    assert table.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1]]
    assert largest(table, 2) == [(1, 2, 1), (2, 0, 1)]
    assert largest(np.diag([3, 4])) == []


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(-8, 8))
def test_the_confusion_table_is_scikit_learns(seed: int, quarters: int) -> None:
    sets, gamma = random_case(seed), quarters / 4
    labels = np.concatenate([p.labels for p in sets.parts().values()])
    answers = np.concatenate(
        [(p.scores + bonus(sets, gamma)).argmax(axis=1) for p in sets.parts().values()]
    )
    expected = confusion_matrix(labels, answers, labels=np.arange(sets.n_classes))
    np.testing.assert_array_equal(confusion_table(sets, gamma), expected)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(-8, 8))
def test_s_u_and_t1_are_scikit_learns_balanced_accuracy(seed: int, quarters: int) -> None:
    sets, gamma = random_case(seed), quarters / 4
    found = measure(sets, gamma)
    unseen = np.flatnonzero(~sets.seen)
    tables = {
        "S": (sets.test_seen.labels, (sets.test_seen.scores + bonus(sets, gamma)).argmax(axis=1)),
        "U": (
            sets.test_unseen.labels,
            (sets.test_unseen.scores + bonus(sets, gamma)).argmax(axis=1),
        ),
        "T1": (sets.test_unseen.labels, unseen[sets.test_unseen.scores[:, unseen].argmax(axis=1)]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an answer may be a class without images
        for name, pair in tables.items():
            assert found.figures()[name] == pytest.approx(100 * balanced_accuracy_score(*pair))


def test_calibration_error_of_four_confidences_by_hand() -> None:
    # Two bins: below 0.5 are 0.2 (right) and 0.4 (wrong): |1 - 0.6| = 0.4; above are 0.8 and 1.0,
    # both right: |2 - 1.8| = 0.2.
    confidence, right = np.array([0.2, 0.4, 0.8, 1.0]), np.array([1.0, 0, 1, 1])
    assert binned_error(confidence, right, bins=2) == pytest.approx((0.4 + 0.2) / 4)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_and_zero_to_the_first() -> None:
    assert binned_error(np.array([0.5, 0.5, 0.0]), np.array([1.0, 0, 0]), bins=2) == pytest.approx(
        0.0
    )


def test_confidence_is_the_softmax_of_calibrated_scores() -> None:
    scores = np.log(np.array([[3.0, 1, 2, 2]]))  # shares 3/8, 1/8, 2/8, 2/8
    sets = checked_sets(scores, np.array([0]), scores, np.array([2]), SEEN)
    error = expected_calibration_error(sets)
    assert error["test_seen"] == pytest.approx(100 * (1 - 3 / 8))
    assert error["test_unseen"] == pytest.approx(100 * 3 / 8)
    # log 2 doubles the unseen shares: 3, 1, 4, 4 of 12, and class 2 is the answer to both.
    error = expected_calibration_error(sets, gamma=np.log(2))
    assert error["test_seen"] == pytest.approx(100 / 3)
    assert error["test_unseen"] == pytest.approx(100 * (1 - 1 / 3))
    assert error["both"] == pytest.approx(100 * abs(1 - 2 / 3) / 2)


def test_calibration_by_infinity_leaves_one_side_to_the_softmax() -> None:
    scores = np.log(np.array([[3.0, 1, 2, 2]]))
    sets = checked_sets(scores, np.array([0]), scores, np.array([2]), SEEN)
    assert expected_calibration_error(sets, np.inf)["test_unseen"] == pytest.approx(
        100 * (1 - 1 / 2)
    )
    assert expected_calibration_error(sets, -np.inf)["test_seen"] == pytest.approx(
        100 * (1 - 3 / 4)
    )


def test_scores_that_are_probabilities_pass_through_no_softmax() -> None:
    shares = np.array([[0.7, 0.1, 0.1, 0.1]])
    assert are_probabilities(shares) and are_probabilities(shares.astype(np.float16))
    assert not are_probabilities(np.array([[1.2, -0.2]])) and not are_probabilities(shares * 2)
    sets = checked_sets(shares, np.array([0]), shares, np.array([2]), SEEN)
    assert expected_calibration_error(sets)["test_seen"] == pytest.approx(30.0)
    # gamma makes class 2 the answer; what was said of it stays 0.1
    assert expected_calibration_error(sets, 1.0)["test_unseen"] == pytest.approx(90.0)


def test_ranks_by_hand() -> None:
    sets = hand_case()
    assert ranks(sets.test_seen, SEEN).tolist() == [1, 2]
    assert ranks(sets.test_unseen, SEEN).tolist() == [1, 2, 2, 1]
    assert mean_rank(sets, all_ranks(sets)) == {"test_seen": 1.5, "test_unseen": 1.5}
    assert top_k(sets, 1, all_ranks(sets)) == {"test_seen": 50.0, "test_unseen": 50.0}
    assert top_k(sets, 2, all_ranks(sets)) == {"test_seen": 100.0, "test_unseen": 100.0}


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(-8, 8))
def test_ranks_are_those_of_a_stable_sort(seed: int, quarters: int) -> None:
    sets, gamma = random_case(seed), quarters / 4
    for part in sets.parts().values():
        order = np.argsort(-(part.scores + bonus(sets, gamma)), axis=1, kind="stable")
        expected = 1 + np.argmax(order == part.labels[:, None], axis=1)
        np.testing.assert_array_equal(ranks(part, sets.seen, gamma), expected)


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(-3, 3))
def test_the_first_rank_is_the_answer_under_any_gamma(seed: int, gamma: float) -> None:
    sets = random_case(seed)
    figures = measure(sets, gamma)
    assert top_k(sets, 1, all_ranks(sets, gamma)) == {
        "test_seen": pytest.approx(figures.S),
        "test_unseen": pytest.approx(figures.U),
    }


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_the_area_and_the_oracle_are_those_of_a_brute_force_sweep(seed: int) -> None:
    sets = random_case(seed)
    tables = np.concatenate([p.scores for p in sets.parts().values()])
    gaps = np.unique(tables[:, sets.seen].max(axis=1) - tables[:, ~sets.seen].max(axis=1))
    gammas = np.concatenate([[gaps[0] - 1], (gaps[1:] + gaps[:-1]) / 2, [gaps[-1] + 1]])
    swept = [measure(sets, gamma) for gamma in gammas.tolist()]
    S, U = np.array([m.S for m in swept]) / 100, np.array([m.U for m in swept]) / 100
    assert pytest.approx(float(np.sum(np.diff(U) * (S[1:] + S[:-1]) / 2))) == swept[0].AUSUC
    assert peak(sets.curve())[1] == pytest.approx(max(m.H for m in swept))


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_each_point_of_the_curve_is_what_evaluation_gives_at_its_gamma(seed: int) -> None:
    points = random_case(seed).curve().points()
    assert points[0]["above"] == -np.inf
    for point, after in zip(points, [*points[1:], {"above": np.inf}], strict=True):
        gamma = (max(point["above"], -99.0) + min(after["above"], 99.0)) / 2
        figures = measure(random_case(seed), gamma)
        assert (point["S"], point["U"]) == (pytest.approx(figures.S), pytest.approx(figures.U))


def test_h_without_with_and_with_the_best_gamma() -> None:
    sets = hand_case()
    found = {
        name: METRICS[name].compute(subject(sets, gamma=9.0, validated=-1.5))
        for name in METRICS
        if name.startswith("H")
    }
    assert found == {
        "H": measure(sets, 9.0).H,
        "H-none": measure(sets, 0.0).H,
        "H-validation": measure(sets, -1.5).H,
        "H-oracle": peak(sets.curve())[1],
    }
    assert METRICS["H-validation"].compute(subject(sets)) is None
    assert [m.name for m in METRICS.values() if m.optimistic] == ["H-oracle"]


def test_equal_scores_everywhere_are_measured_and_the_first_class_wins() -> None:
    sets = checked_sets(
        np.zeros((2, 4)), np.array([0, 1]), np.zeros((2, 4)), np.array([2, 3]), SEEN
    )
    figures = measure(sets)
    assert (figures.S, figures.U, figures.T1, figures.H) == (50.0, 0.0, 50.0, 0.0)
    assert mean_rank(sets, all_ranks(sets)) == {"test_seen": 1.5, "test_unseen": 3.5}
    assert expected_calibration_error(sets)["both"] == pytest.approx(0.0)
    assert len(sets.curve().points()) == 2


def test_a_class_without_images_counts_in_no_mean() -> None:
    sets = checked_sets(np.eye(4)[[0, 2]], np.array([0, 0]), np.eye(4)[[3]], np.array([3]), SEEN)
    values = {name: metric.compute(subject(sets)) for name, metric in METRICS.items()}
    assert (values["rank-seen"], values["rank-unseen"], values["top-5-seen"]) == (1.5, 1.0, None)
    assert np.isnan(values["per-class"]["class 1"])
    assert values["confusion"]["images"][1] == [0, 0, 0, 0]


@pytest.mark.parametrize("name", ["test_seen", "test_unseen"])
def test_scores_that_are_no_numbers_are_refused_by_set_and_image(name: str) -> None:
    tables = {"test_seen": np.zeros((2, 4)), "test_unseen": np.zeros((2, 4))}
    tables[name][1, 3] = np.nan
    with pytest.raises(
        DataError,
        match=rf"{name}: 1 of 2 images have scores that are not finite \(image 1, class 3: nan\)",
    ):
        checked_sets(
            tables["test_seen"], np.array([0, 1]), tables["test_unseen"], np.array([2, 3]), SEEN
        )


def test_one_class_alone_is_no_generalized_zero_shot_learning() -> None:
    with pytest.raises(DataError, match="None of the 1 classes is unseen"):
        checked_sets(
            np.zeros((1, 1)), np.array([0]), np.zeros((1, 1)), np.array([0]), np.array([True])
        )


def test_metrics_are_named_in_any_case_and_once() -> None:
    assert [m.name for m in chosen(["h", " ECE ", "H"])] == ["H", "ECE"]
    assert [m.name for m in chosen(["all"])] == list(METRICS)
    assert [m.name for m in chosen(["top-2", "top-7-unseen"])] == [
        "top-2-seen",
        "top-2-unseen",
        "top-7-unseen",
    ]
    assert chosen(["top-2-unseen"])[0].compute(subject(hand_case())) == 100.0


def test_an_unknown_metric_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="There is no metric 'AUSSUC'; did you mean \"AUSUC\""):
        chosen(["AUSSUC"])
    with pytest.raises(UnknownName):
        chosen(["top-0"])
