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
        (
            {"split": Split(np.array([0, 2, 1]), np.array([1, 3]), np.array([4]))},
            "trainval and test_seen share 1 images",
        ),
        (
            {"split": Split(np.array([0, 2]), np.array([1, 3]), np.array([], dtype=np.int64))},
            "test_unseen is empty",
        ),
        (
            {"split": Split(np.array([0, 2]), np.array([1, 3]), np.array([5]))},
            "test_unseen points outside the 5 images",
        ),
        (
            {"split": Split(np.array([0, 2, 2]), np.array([1, 3]), np.array([4]))},
            "trainval holds an image twice",
        ),
        (
            {"split": Split(np.array([0]), np.array([1, 3]), np.array([4]))},
            "1 classes of test_seen have no image in trainval ('b', ...)",
        ),
        ({"split": Split(np.array([0]), np.array([1]), np.array([2, 3]))}, ""),
        (
            {"labels": np.array([0, 0, 1, 1, 1])},
            "1 classes stand in trainval and in test_unseen ('b', ...)",
        ),
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


@pytest.mark.parametrize(("share", "held"), [(None, 2), (0.5, 5), (0.0, 0), (1.0, 9)])
def test_a_fold_keeps_that_share_of_each_class_for_its_seen_images(
    share: float | None, held: int
) -> None:
    labels = np.repeat(np.arange(4), 12)
    parts = [
        np.flatnonzero((labels < 3) & (np.arange(48) % 12 < 10)),
        np.flatnonzero((labels < 3) & (np.arange(48) % 12 >= 10)),
    ]
    semantics = Semantics(np.eye(4, dtype=np.float32), tuple("wxyz"))
    whole = Dataset(
        "made",
        tuple("abcd"),
        labels,
        Split(*parts, np.arange(36, 48)),
        semantics,
        features=np.zeros((48, 2), np.float32),
    )
    if held == 0:  # a set without images is told
        with pytest.raises(DataError, match="test_seen is empty"):
            whole.fold(0, image_share=0.0)
        return
    fold = whole.fold(0) if share is None else whole.fold(0, image_share=share)
    counts = [
        np.bincount(fold.labels[part], minlength=3).tolist()
        for part in (fold.split.test_seen, fold.split.trainval)
    ]
    assert [sorted(c) for c in counts] == [[0, held, held], [0, 10 - held, 10 - held]], (
        "an image of each class is left to train on"
    )
