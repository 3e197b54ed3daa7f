"""ROC AUC and average precision of a model's attribute scores: does it know what an image shows?

An image shows the attributes of its class, since datasets of the field annotate classes. A class
has an attribute if its value, on the dataset's own scale, is above the mean over all classes. Both
metrics use the order of the images by one attribute, so the scores need no common scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
        names: The A attribute names.
    """

    test_seen: ScoreTable
    test_unseen: ScoreTable
    present: Mask
    names: tuple[str, ...]


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
    """Which class has which attribute: its value is above the mean over classes.

    Args:
        attributes: (C, A) on the dataset's own scale.

    Returns:
        (C, A) bool.
    """
    return np.asarray(attributes > attributes.mean(axis=0, dtype=np.float64))


def attribute_accuracy(
    scores: AttributeScores, sets: TestSets
) -> dict[str, AttributeAccuracy | None]:
    """Compute the accuracy on each test set.

    Returns:
        Set name -> accuracy; None if no scored attribute is shown by some images and not by others.

    Raises:
        DataError: The number of scores differs from that of the images, or scores are infinite, or
            NaN in some images of an attribute only.
    """
    parts = {"test_seen": scores.test_seen, "test_unseen": scores.test_unseen}
    return {
        name: _accuracy(name, table, sets.parts()[name].labels, scores.present)
        for name, table in parts.items()
    }


def _accuracy(
    name: str, table: ScoreTable, labels: Index, present: Mask
) -> AttributeAccuracy | None:
    if table.shape != (len(labels), present.shape[1]):
        raise DataError(
            f"{name}: there are attribute scores of shape {table.shape} "
            f"for {len(labels)} images and {present.shape[1]} attributes"
        )
    found = list(_each(name, table, present[labels]))
    if not found:
        return None
    auc, ap = np.mean(found, axis=0)
    return AttributeAccuracy(100.0 * float(auc), 100.0 * float(ap), len(found))


def _each(name: str, table: ScoreTable, shown: Mask) -> Iterator[tuple[float, float]]:
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
        if truth.any() and not truth.all():
            yield roc_auc_score(truth, column), average_precision_score(truth, column)
