"""Does a model know which attributes an image shows? ROC AUC and average precision of its attribute scores.

An image shows an attribute if its class has it, and a class has it if its value is above the attribute's mean over all classes, on the
dataset's own scale: datasets of the field say attributes of classes and not of images. Both measures look at the order of the images by
one attribute alone, so scores need no common scale.
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
    """What a model says of the attributes of both test sets.

    test_seen (Ns, A), test_unseen (Nu, A): higher is likelier; a column of NaN is an attribute that the model does not tell.
    present (C, A) bool: which class has which attribute. names: A attribute names.
    """

    test_seen: ScoreTable
    test_unseen: ScoreTable
    present: Mask
    names: tuple[str, ...]


@dataclass(frozen=True)
class AttributeAccuracy:
    """auc, ap: means over attributes, in percent. counted: attributes that some images of the set show and others do not."""

    auc: float
    ap: float
    counted: int


def present_attributes(attributes: ScoreTable) -> Mask:
    """(C, A) bool: above the attribute's mean over all classes. attributes (C, A) on the dataset's own scale."""
    return np.asarray(attributes > attributes.mean(axis=0, dtype=np.float64))


def attribute_accuracy(
    scores: AttributeScores, sets: TestSets
) -> dict[str, AttributeAccuracy | None]:
    """Of each set by name; None for one in which no attribute that the model tells is shown by some images and not by others.

    Raises DataError if the scores are not as many as the images, or infinite, or NaN in some images of an attribute only.
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
            f"{name}: there are attribute scores of shape {table.shape} for {len(labels)} images and {present.shape[1]} attributes"
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
                f"{name}: the scores of attribute {i} are not finite in some images; a model that does not tell it says NaN in all"
            )
        if truth.any() and not truth.all():
            yield roc_auc_score(truth, column), average_precision_score(truth, column)
