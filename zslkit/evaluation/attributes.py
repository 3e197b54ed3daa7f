"""ROC AUC and average precision of a model's attribute scores: does it know what an image shows?

Where a dataset knows the attributes of single images, these count. Elsewhere an image shows the
attributes of its class, since most datasets of the field annotate classes. A class or an image has
an attribute if its value, on the dataset's own scale, is above the mean over all classes. Both
metrics use the order of the images by one attribute, so the scores need no common scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.evaluation.metrics import Index, Mask, ScoreTable
from zslkit.evaluation.sets import TestSets


@dataclass(frozen=True, eq=False)
class AttributeScores:
    """A model's attribute scores on both test sets.

    Attributes:
        test_seen: (Ns, A), higher is likelier; a column of NaN is an attribute without scores.
        test_unseen: (Nu, A), likewise.
        present: (C, A) bool, whether a class has an attribute.
        shown_seen: (Ns, A) int8, whether an image itself shows an attribute: 1, 0, or -1 where
            unknown. None: it shows those of its class. `shown_unseen` (Nu, A) likewise.
    """

    test_seen: ScoreTable
    test_unseen: ScoreTable
    present: Mask
    names: tuple[str, ...]
    shown_seen: NDArray[np.int8] | None = None
    shown_unseen: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class AttributeAccuracy:
    """Accuracy of attribute scores on one test set.

    Attributes:
        auc: ROC AUC, mean over attributes, in percent.
        ap: Average precision, mean over attributes, in percent.
        counted: Number of attributes that some images of the set show and others do not.
    """

    auc: float
    ap: float
    counted: int


def present_attributes(attributes: ScoreTable) -> Mask:
    """Which class has which attribute, (C, A) bool: its value is above the mean over classes."""
    return np.asarray(attributes > attributes.mean(axis=0, dtype=np.float64))


def shown_attributes(own: ScoreTable, attributes: ScoreTable) -> NDArray[np.int8]:
    """Which image shows which attribute, (N, A): 1, 0, or -1 where its own value is NaN.

    An image shows what is above the mean of `attributes` (C, A) over classes, on the same scale.
    """
    shown = np.asarray(own > attributes.mean(axis=0, dtype=np.float64)).astype(np.int8)
    return np.where(np.isnan(own), np.int8(-1), shown)


def attribute_accuracy(
    scores: AttributeScores, sets: TestSets
) -> dict[str, AttributeAccuracy | None]:
    """Accuracy on each test set; None if no scored attribute is shown by some images only.

    Raises:
        DataError: The number of scores differs from that of the images, or scores are infinite, or
            NaN in some images of an attribute only.
    """
    tables = (scores.test_seen, scores.shown_seen), (scores.test_unseen, scores.shown_unseen)
    return {
        name: _accuracy(name, table, part.labels, scores.present, shown)
        for (name, part), (table, shown) in zip(sets.parts().items(), tables, strict=True)
    }


def _accuracy(
    name: str,
    table: ScoreTable,
    labels: Index,
    present: Mask,
    shown: NDArray[np.int8] | None,
) -> AttributeAccuracy | None:
    if table.shape != (len(labels), present.shape[1]):
        raise DataError(
            f"{name}: there are attribute scores of shape {table.shape} "
            f"for {len(labels)} images and {present.shape[1]} attributes"
        )
    found = list(_each(name, table, present[labels].astype(np.int8) if shown is None else shown))
    if not found:
        return None
    auc, ap = np.mean(found, axis=0)
    return AttributeAccuracy(100.0 * float(auc), 100.0 * float(ap), len(found))


def _each(name: str, table: ScoreTable, shown: NDArray[np.int8]) -> Iterator[tuple[float, float]]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    for i in range(shown.shape[1]):
        column, truth = np.asarray(table[:, i], dtype=np.float64), shown[:, i]
        if not np.isfinite(column).all():
            if np.isnan(column).all():
                continue
            raise DataError(
                f"{name}: the scores of attribute {i} are not finite in some images; "
                "a model that does not tell it says NaN in all"
            )
        known = truth >= 0
        truth, column = truth[known], column[known]
        if truth.any() and not truth.all():
            yield roc_auc_score(truth, column), average_precision_score(truth, column)
