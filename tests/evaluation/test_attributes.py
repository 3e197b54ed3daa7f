"""Attribute accuracy is scikit-learn's ROC AUC and average precision, averaged over the attributes that a set can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from zslkit.errors import DataError
from zslkit.evaluation.attributes import (
    AttributeScores,
    area_and_precision,
    attribute_accuracy,
    present_attributes,
)
from zslkit.evaluation.sets import TestSets, checked_sets

SEEN = np.array([True, True, True, False, False])


def sets_of(rng: np.random.Generator, images: int = 30) -> TestSets:
    parts = []
    for ids in (np.flatnonzero(SEEN), np.flatnonzero(~SEEN)):
        parts += [rng.standard_normal((images, len(SEEN))), np.resize(ids, images)]
    return checked_sets(*parts, SEEN)  # type: ignore[arg-type]


def test_three_images_by_hand() -> None:
    assert area_and_precision(np.array([0.9, 0.5, 0.1]), np.array([True, False, True])) == (
        0.5,
        pytest.approx((1 + 2 / 3) / 2),
    )
    assert area_and_precision(np.array([1.0, 1.0]), np.array([True, False])) == (0.5, 0.5)


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([2, 5, 1000]))
def test_they_are_scikit_learns_at_ties_too(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.permutation([True, False, *(rng.random(18) < 0.3)])
    scores = rng.integers(levels, size=20) / 7
    area, precision = area_and_precision(scores, truth)
    assert area == pytest.approx(roc_auc_score(truth, scores))
    assert precision == pytest.approx(average_precision_score(truth, scores))


def test_the_mean_over_attributes_is_scikit_learns_macro_average() -> None:
    rng = np.random.default_rng(0)
    sets, present = (
        sets_of(rng),
        np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=bool),
    )
    tables = rng.standard_normal((2, 30, 3))
    found = attribute_accuracy(AttributeScores(*tables, present, ("a", "b", "c")), sets)
    for (name, accuracy), table in zip(found.items(), tables, strict=True):
        truth = present[sets.parts()[name].labels]
        assert accuracy is not None and accuracy.counted == 3
        assert accuracy.auc == pytest.approx(100 * roc_auc_score(truth, table, average="macro"))
        assert accuracy.ap == pytest.approx(
            100 * average_precision_score(truth, table, average="macro")
        )


def test_an_attribute_that_all_images_show_or_that_the_model_does_not_tell_counts_in_no_mean() -> (
    None
):
    rng = np.random.default_rng(0)
    sets, present = (
        sets_of(rng),
        np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]], dtype=bool),
    )
    tables = rng.standard_normal((2, 30, 3))
    tables[:, :, 1] = np.nan
    found = attribute_accuracy(AttributeScores(*tables, present, ("a", "b", "c")), sets)
    assert found["test_seen"] is not None and found["test_seen"].counted == 1
    assert found["test_unseen"] is None


def test_a_class_has_what_is_above_the_mean_of_the_attribute() -> None:
    table = np.array([[10.0, 1.0, 5.0], [20.0, 0.0, 5.0], [60.0, 0.0, 5.0]])
    assert present_attributes(table).tolist() == [
        [False, True, False],
        [False, False, False],
        [True, False, False],
    ]


def test_scores_that_cannot_be_used_are_refused() -> None:
    rng = np.random.default_rng(0)
    sets, present = sets_of(rng), np.eye(5, 3, dtype=bool)
    tables = rng.standard_normal((2, 30, 3))
    with pytest.raises(
        DataError, match=r"test_seen: there are attribute scores of shape \(29, 3\) for 30 images"
    ):
        attribute_accuracy(
            AttributeScores(tables[0][1:], tables[1], present, ("a", "b", "c")), sets
        )
    tables[1, 4, 2] = np.nan
    with pytest.raises(
        DataError, match="test_unseen: the scores of attribute 2 are not finite in some images"
    ):
        attribute_accuracy(AttributeScores(*tables, present, ("a", "b", "c")), sets)
