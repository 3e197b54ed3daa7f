"""Attribute accuracy is scikit-learn's ROC AUC and average precision, averaged over the attributes
that a set can tell."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from zslkit.errors import DataError
from zslkit.evaluation.attributes import (
    AttributeAccuracy,
    AttributeScores,
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
    rows = np.zeros((3, 5))
    sets = checked_sets(rows, np.array([0, 1, 0]), rows, np.array([3, 4, 4]), SEEN)
    present = np.array([[True], [False], [True], [True], [False]])
    scores = np.array([[0.9], [0.5], [0.1]]), np.ones((3, 1))
    found = attribute_accuracy(AttributeScores(*scores, present, ("a",)), sets)
    # One of two pairs is in order; precision 1 at the first, 2/3 at the last.
    assert found["test_seen"] == AttributeAccuracy(50.0, pytest.approx(100 * (1 + 2 / 3) / 2), 1)
    # Equal scores: half of each pair, and one threshold.
    assert found["test_unseen"] == AttributeAccuracy(50.0, pytest.approx(100 / 3), 1)


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
