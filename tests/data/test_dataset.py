"""A dataset that contradicts itself is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zslkit.dataset import Dataset, Split
from zslkit.errors import DataError
from zslkit.semantics import Semantics

GOOD = Dataset(
    "made",
    ("a", "b", "c"),
    np.array([0, 0, 1, 1, 2]),
    Split(np.array([0, 2]), np.array([1, 3]), np.array([4])),
    Semantics(np.eye(3, dtype=np.float32), ("x", "y", "z")),
    features=np.zeros((5, 2), np.float32),
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": Split(np.array([0, 2, 1]), np.array([1, 3]), np.array([4]))}, "trainval and test_seen share 1 images"),
        ({"split": Split(np.array([0, 2]), np.array([1, 3]), np.array([], dtype=np.int64))}, "test_unseen is empty"),
        ({"split": Split(np.array([0, 2]), np.array([1, 3]), np.array([5]))}, "test_unseen points outside the 5 images"),
        ({"split": Split(np.array([0, 2, 2]), np.array([1, 3]), np.array([4]))}, "trainval holds an image twice"),
        ({"split": Split(np.array([0]), np.array([1, 3]), np.array([4]))}, "1 classes of test_seen have no image in trainval ('b', ...)"),
        ({"split": Split(np.array([0]), np.array([1]), np.array([2, 3]))}, ""),
        ({"labels": np.array([0, 0, 1, 1, 1])}, "1 classes stand in trainval and in test_unseen ('b', ...)"),
        ({"labels": np.array([0, 0, 1, 1])}, "5 images or features but 4 labels"),
        ({"classes": ("a", "b", "b")}, "a class name stands twice"),
        ({"classes": ("a", "b")}, "2 classes but 3 rows in the class-attribute table"),
        ({"features": None}, "there are neither images nor features"),
    ],
)
def test_contradictions(change: dict[str, object], words: str) -> None:
    if not words:  # an image may be in no part at all
        replace(GOOD, **change)  # type: ignore[arg-type]
        return
    with pytest.raises(DataError) as error:
        replace(GOOD, **change)  # type: ignore[arg-type]
    assert words in str(error.value) and str(error.value).startswith("made: ")
