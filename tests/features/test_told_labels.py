"""Features that hold the labels of their images, or the attributes of their classes, are found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from zslkit.features.told_labels import LabelColumns

LABELS = np.repeat(np.arange(8), 5)[np.random.default_rng(1).permutation(40)]
PLAIN = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
TABLE = np.random.default_rng(2).random((8, 3)).astype(np.float32)


def found(features: NDArray[np.float32], labels: NDArray[np.int64] = LABELS) -> list[int]:
    columns = LabelColumns(labels)
    for start in range(0, len(features), 7):
        columns.add(features[start : start + 7])
    assert bool(columns.fault()) == bool(columns.columns())
    return columns.columns()


TOLD: dict[str, Callable[[], NDArray[np.float32]]] = {
    "labels": lambda: LABELS[:, None],
    "labels from 1": lambda: LABELS[:, None] + 1,
    "one-hot labels": lambda: np.eye(8)[LABELS],
    "attributes of the class": lambda: TABLE[LABELS],
    "one attribute of two values and one of many": lambda: np.c_[LABELS % 2, LABELS * 3],
}


@pytest.mark.parametrize("kind", TOLD)
def test_columns_that_tell_the_label_are_found(kind: str) -> None:
    more = TOLD[kind]().astype(np.float32)
    several = [k for k in range(more.shape[1]) if len(np.unique(more[:, k])) > 2 or kind[0] == "o"]
    if kind.startswith("one attribute"):
        several = [1]
    assert found(np.c_[PLAIN, more]) == [6 + k for k in several]
    assert found(np.c_[more, PLAIN]) == several


def test_plain_features_and_dead_and_rare_ones_are_no_fault() -> None:
    rare = PLAIN.copy()
    rare[:, 0] = 0
    rare[:, 1] = (LABELS == 3) * 0.5  # one class alone has it, in all its images
    assert found(PLAIN) == found(rare) == []


def test_classes_of_one_image_prove_nothing() -> None:
    labels = np.arange(40)
    labels[1] = 0
    assert found(PLAIN, labels) == []
    assert found(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == []
