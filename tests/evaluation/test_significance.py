"""Intervals and tests, against cases worked out by hand, exact distributions, and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nct, norm, t

from zslkit.errors import DataError
from zslkit.evaluation import significance
from zslkit.evaluation.bootstrap import Resampled, logit_interval, resample
from zslkit.evaluation.gzsl import measure
from zslkit.evaluation.metrics import Index, Mask, class_mean
from zslkit.evaluation.outcomes import (
    SAMPLED,
    Outcomes,
    outcomes,
    together,
)
from zslkit.evaluation.sets import checked_sets
from zslkit.evaluation.significance import (
    MOST_RESAMPLES,
    enough_resamples,
    holm,
    mcnemar,
    paired_difference,
    seeds_needed,
    t_test_power,
    too_few,
)

seeds = st.integers(0, 100_000)


def column(*right: int) -> Mask:
    return np.array(right, dtype=bool)[:, None]


def random_outcomes(seed: int, runs: int = 1, images: int = 60) -> Outcomes:
    """Six seen and four unseen classes of uneven size; each run is right on most images."""
    rng = np.random.default_rng(seed)
    seen, unseen = np.sort(rng.integers(0, 6, images)), np.sort(rng.integers(6, 10, images))
    t1 = rng.random((images, runs)) < 0.8
    return Outcomes(
        seen, unseen, rng.random((images, runs)) < 0.6, t1 & (rng.random((images, runs)) < 0.7), t1
    )


def test_an_image_of_a_small_class_weighs_more() -> None:
    labels = np.array([3, 3, 3, 5])
    assert class_mean(np.array([1, 1, 0, 0]), labels) == pytest.approx(1 / 3)
    assert class_mean(np.array([1, 1, 0, 1]), labels) == pytest.approx(5 / 6)


@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(-2, 2))
def test_the_figures_of_outcomes_are_those_of_the_evaluator(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    seen = np.array([True, False, True, False, True])
    tables = [rng.integers(0, 8, (9, 5)) / 4 for _ in range(2)]
    sets = checked_sets(tables[0], rng.choice([0, 2, 4], 9), tables[1], rng.choice([1, 3], 9), seen)
    value, figures = resample(outcomes(sets, gamma), 1).value, measure(sets, gamma).figures()
    assert {name: float(value[name][0]) for name in SAMPLED} == {
        name: pytest.approx(figures[name]) for name in SAMPLED
    }


def one_side(right: Mask, labels: Index) -> Outcomes:
    """The same on both sides, and for T1."""
    return Outcomes(labels, labels + 10, right, right, right)


def test_a_class_has_one_image_less_drawn_than_it_has() -> None:
    # Two of three are right, and two are drawn: none, one or both right with 1/9, 4/9, 4/9.
    drawn = resample(one_side(column(1, 1, 0), np.zeros(3, dtype=np.int64)), 20_000).drawn["S"][
        :, 0
    ]
    shares = [np.mean(np.isclose(drawn, value)) for value in (0, 50, 100)]
    assert shares == pytest.approx([1 / 9, 4 / 9, 4 / 9], abs=0.015)


def test_the_spread_of_resamples_is_the_unbiased_one_of_a_mean_over_classes() -> None:
    found = random_outcomes(3)
    per_class = [found.S[found.seen_labels == k, 0] for k in range(6)]
    exact = 100 / 6 * np.sqrt(sum(c.var(ddof=1) / len(c) for c in per_class))
    assert resample(found, 20_000).drawn["S"].std() == pytest.approx(exact, rel=0.03)


def test_classes_keep_their_weight_in_each_resample() -> None:
    # A class that is always right and one that never is: no draw can move their mean.
    drawn = resample(one_side(column(1, 1, 1, 0, 0), np.array([0, 0, 0, 1, 1])), 200).drawn
    assert all(np.allclose(drawn[name], 50.0) for name in SAMPLED)


def test_classes_of_one_image_are_drawn_as_one_class() -> None:
    # Of 1, 0, 0 two are drawn, which stand for three classes of four; the fourth, of two images, is
    # right.
    labels = np.array([4, 1, 3, 2, 2])
    found = resample(one_side(column(1, 0, 0, 1, 1), labels), 20_000)
    drawn = found.drawn["S"][:, 0]
    assert found.value["S"][0] == pytest.approx(50.0) == pytest.approx(drawn.mean(), abs=0.4)
    shares = [np.mean(np.isclose(drawn, 25 + 75 * right)) for right in (0, 0.5, 1)]
    assert shares == pytest.approx([4 / 9, 4 / 9, 1 / 9], abs=0.015)


def test_one_class_of_one_image_varies_as_an_image_of_the_set_does() -> None:
    # Around its own outcome, by (0 or 1) - 3/4: the other class, of three, has all right and never
    # varies.
    found = resample(one_side(column(0, 1, 1, 1), np.array([0, 5, 5, 5])), 20_000)
    drawn = found.drawn["S"][:, 0]
    assert found.value["S"][0] == pytest.approx(50.0) == pytest.approx(drawn.mean(), abs=0.4)
    assert sorted(set(drawn.round(6))) == [12.5, 62.5]
    assert (
        resample(one_side(column(1), np.array([0])), 5).drawn["S"].ravel().tolist() == [100.0] * 5
    )


def test_the_two_test_sets_are_drawn_apart() -> None:
    # Else S and U rise and fall together wherever their classes have the same sizes, and H varies
    # too much.
    labels = np.repeat(np.arange(5), 4)
    drawn = resample(one_side(np.arange(20)[:, None] % 2 == 0, labels), 2000).drawn
    assert abs(np.corrcoef(drawn["S"][:, 0], drawn["U"][:, 0])[0, 1]) < 0.1
    np.testing.assert_array_equal(drawn["U"], drawn["T1"])


def test_an_interval_is_normal_in_log_odds_and_ends_within_0_and_100() -> None:
    # log(80 / 20) = 1.386; a spread of 4 points is 0.04 / 0.16 = 0.25 of it, and 1.96 of these
    # reach 0.49 far.
    low, high = logit_interval(80.0, 4.0)
    assert (low, high) == (pytest.approx(71.02, abs=0.01), pytest.approx(86.72, abs=0.01))
    assert logit_interval(50.0, 4.0) == (
        pytest.approx(100 - logit_interval(50.0, 4.0)[1]),
        pytest.approx(57.78, abs=0.01),
    )
    assert 0 <= logit_interval(0.01, 5.0)[0] < 1e-9 and 99 < logit_interval(0.01, 5.0)[1] <= 100
    assert logit_interval(100.0, 0.0) == (100.0, 100.0) and logit_interval(30.0, 0.0) == (
        30.0,
        30.0,
    )


def test_the_same_seed_draws_the_same_and_pieces_make_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = random_outcomes(0, runs=2)
    first = resample(found, 50, seed=7)
    np.testing.assert_array_equal(first.drawn["H"], resample(found, 50, seed=7).drawn["H"])
    assert not np.array_equal(first.drawn["H"], resample(found, 50, seed=8).drawn["H"])
    monkeypatch.setattr("zslkit.evaluation.bootstrap.AT_ONCE", 130)
    np.testing.assert_allclose(first.drawn["H"], resample(found, 50, seed=7).drawn["H"])


def test_intervals_hold_their_figure_in_nearly_all_cases() -> None:
    held = 0
    for seed in range(60):
        resampled = resample(random_outcomes(seed, runs=2), 300, seed)
        held += all(
            (i := resampled.interval(name, [0, 1])).low <= i.value <= i.high for name in SAMPLED
        )
    assert held >= 58


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_swapping_the_models_flips_the_sign_and_keeps_p(seed: int) -> None:
    found = random_outcomes(seed, runs=4)
    resampled = resample(found, 200, seed)
    there, back = (
        paired_difference(resampled, *runs) for runs in (([0, 1], [2, 3]), ([2, 3], [0, 1]))
    )
    assert there.p == back.p
    assert there.interval.value == pytest.approx(-back.interval.value)
    assert (there.interval.low, there.interval.high) == (
        pytest.approx(-back.interval.high),
        pytest.approx(-back.interval.low),
    )
    one, other = (
        mcnemar(found.T1[:, :2], found.T1[:, 2:]),
        mcnemar(found.T1[:, 2:], found.T1[:, :2]),
    )
    assert (one.only_a, one.only_b, one.p) == (other.only_b, other.only_a, other.p)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_identical_models_do_not_differ(seed: int) -> None:
    found = random_outcomes(seed, runs=2)
    twice = together([found, found])
    difference = paired_difference(resample(twice, 100), [0, 1], [2, 3])
    assert (
        difference.interval.value,
        difference.interval.low,
        difference.interval.high,
        difference.p,
    ) == (0.0, 0.0, 0.0, 1.0)
    assert mcnemar(found.T1, found.T1) == significance.McNemar(0, 0)


def test_a_large_paired_difference_has_the_least_p_there_is() -> None:
    found = random_outcomes(0)
    perfect = Outcomes(
        found.seen_labels, found.unseen_labels, *(np.ones_like(found.S) for _ in range(3))
    )
    difference = paired_difference(resample(together([perfect, found]), 199), [0], [1])
    assert difference.p == pytest.approx(2 / 200)
    assert difference.interval.low > 0


def test_pairing_makes_the_interval_of_a_difference_narrower() -> None:
    found = random_outcomes(0)
    spoilt = np.arange(60)[:, None] % 9 == 0
    worse = Outcomes(
        found.seen_labels,
        found.unseen_labels,
        found.S & ~spoilt,
        found.U & ~spoilt,
        found.T1 & ~spoilt,
    )
    paired = paired_difference(resample(together([found, worse]), 500), [0], [1]).interval
    apart = [resample(o, 500, seed).drawn["H"][:, 0] for seed, o in enumerate((found, worse))]
    assert paired.high - paired.low < 0.7 * np.subtract(
        *np.quantile(apart[0] - apart[1], [0.975, 0.025])
    )


def test_resamples_are_enough_for_holm_over_many_pairs() -> None:
    for pairs in (1, 10, 45, 250, 500):
        enough = enough_resamples(pairs, most=10**9)
        assert pairs * 2 / (enough + 1) <= 0.025 + 1e-12 and not too_few(enough, pairs)
    assert enough_resamples(1) == 2000
    assert not too_few(enough_resamples(250), 250)


def test_more_pairs_than_resamples_can_count_get_no_more_of_them_and_a_normal_tail() -> None:
    assert enough_resamples(10_000) == MOST_RESAMPLES and too_few(MOST_RESAMPLES, 10_000)
    drawn = np.random.default_rng(0).normal(5.0, 1.0, (1000, 1))
    value = {"H": np.array([55.0, 50.0])}
    five = Resampled(value, {"H": np.hstack([50.0 + drawn, np.full((1000, 1), 50.0)])})
    # Five standard deviations: counting ends at 2 of 1001, the normal distribution knows more.
    assert paired_difference(five, [0], [1]).p == 2 / 1001
    assert paired_difference(five, [0], [1], pairs=10_000).p == pytest.approx(
        2 * norm.sf(5.0), rel=0.5
    )
    # A resample on the far side can be counted, and is.
    one = Resampled(
        {"H": np.array([52.0, 50.0])}, {"H": np.hstack([47.0 + drawn, np.full((1000, 1), 50.0)])}
    )
    assert (
        paired_difference(one, [0], [1], pairs=10_000).p
        == paired_difference(one, [0], [1]).p
        > 2 / 1001
    )
    flat = Resampled(value, {"H": np.tile([55.0, 50.0], (1000, 1))})
    assert paired_difference(flat, [0], [1], pairs=10_000).p == 0.0


def test_mcnemar_by_hand() -> None:
    # Three images only A has right, none only B: 2 * (1/2)^3.
    found = mcnemar(column(1, 1, 1, 1, 0), column(1, 0, 0, 0, 0))
    assert (found.only_a, found.only_b, found.p) == (3, 0, 0.25)


def test_with_more_seeds_an_image_counts_once_for_the_model_that_is_oftener_right() -> None:
    a = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=bool)
    b = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=bool)
    assert (mcnemar(a, b).only_a, mcnemar(a, b).only_b) == (1, 1)
    # shares, where the numbers of seeds differ: 2 of 3 against 1 of 2, 1 of 3 against 1 of 2
    assert (
        mcnemar(a[:2], b[:2, 1:]).only_a,
        mcnemar(np.array([[True, False, False]]), np.array([[True, False]])).only_b,
    ) == (2, 1)


def test_thousands_of_discordant_images_are_no_overflow() -> None:
    only_a, only_b = np.arange(5000) < 2400, np.arange(5000) >= 2400
    found = mcnemar(only_a[:, None], only_b[:, None])
    # The normal approximation with continuity correction: z = (|2400 - 2600| - 1) / sqrt(5000).
    assert found.p == pytest.approx(2 * norm.sf(199 / 5000**0.5), rel=2e-3)
    assert mcnemar(np.ones((5000, 1), bool), np.zeros((5000, 1), bool)).p == pytest.approx(
        0.0, abs=1e-300
    )


def test_holm_by_hand() -> None:
    # 0.01 * 4, then 0.02 * 3 = 0.06, then 0.03 * 2 = 0.06, then 0.04 -> not below the one before it
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.7, 0.6]) == [1.0, 1.0]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(x <= y <= min(1.0, len(p) * x) + 1e-12 for x, y in zip(p, adjusted, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@pytest.mark.parametrize(("effect", "n"), [(1.0, 17), (0.5, 64), (0.8, 26), (0.2, 394)])
def test_seeds_needed_are_those_of_the_tables_of_power(effect: float, n: int) -> None:
    # Cohen 1988, table 2.4.1: two-sided 5 %, power .80
    spread = 2**0.5  # of 0 and 2
    each, said = seeds_needed([0.0, 2.0], [effect * spread, 2.0 + effect * spread])
    assert each == n
    assert t_test_power(effect, n) >= 0.8 > t_test_power(effect, n - 1)
    assert said == f"about {n} seeds each ({n - 2} more) would separate them"


def test_seeds_are_told_to_be_enough_when_they_are() -> None:
    each, said = seeds_needed([1.0, 1.1, 0.9, 1.0], [9.0, 9.1, 8.9, 9.0])
    assert each == 2
    assert "are there" in said


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([1.0, 3.0], [2.0, 2.0], "not separated by seeds alone: their means are equal"),
        ([1.0], [2.0], "one seed each"),
        ([1.0, 1.0], [2.0, 2.0], "agree exactly"),
        ([0.0, 100.0], [0.01, 100.01], "more than 10000 each"),
    ],
)
def test_what_seeds_cannot_say_is_said(a: list[float], b: list[float], said: str) -> None:
    assert said in seeds_needed(a, b)[1]


def test_runs_of_different_images_cannot_be_paired() -> None:
    with pytest.raises(DataError, match="tested on different images"):
        together([random_outcomes(0), random_outcomes(1)])


def test_a_set_of_one_class_has_an_interval_all_the_same() -> None:
    found = Outcomes(np.array([0]), np.array([1, 1]), column(1), column(1, 0), column(1, 1))
    interval: Resampled = resample(found, 100)
    assert (interval.interval("S", [0]).low, interval.interval("S", [0]).high) == (100.0, 100.0)
    assert 0.0 < interval.interval("U", [0]).low < 10.0


@pytest.mark.parametrize("effect", [0.03, 0.3, 1.0, 5.0, 1e9])
@pytest.mark.parametrize("n", [2, 5, 100, 10_000])
def test_power_is_that_of_the_noncentral_t(effect: float, n: int) -> None:
    freedom, shift = 2 * n - 2, effect * (n / 2) ** 0.5
    edge = t.ppf(0.975, freedom)
    missed = nct.cdf(edge, freedom, shift) - nct.cdf(-edge, freedom, shift)
    assert t_test_power(effect, n) == pytest.approx(1 - np.nan_to_num(missed))
