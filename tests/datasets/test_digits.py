"""The built-in digits: what stands in them, and that nothing leaks from training to test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zslkit.dataset import Dataset, Index
from zslkit.datasets.digits import (
    STROKES,
    Composition,
    Digits,
    compose,
    draw,
    read_scans,
    semantics,
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Digits().load("digits", Path("nowhere"))


@pytest.fixture(scope="module")
def digits() -> Index:
    return read_scans()[1]


@pytest.fixture(scope="module")
def made(digits: Index) -> Composition:
    return compose(digits)


def test_classes_and_sets_have_their_sizes(dataset: Dataset) -> None:
    assert len(dataset.classes) == 200 and dataset.seen.sum() == 150
    for part, classes in (("trainval", 150), ("test_seen", 150), ("test_unseen", 50)):
        counts = np.unique(dataset.labels[dataset.split.parts()[part]], return_counts=True)[1]
        assert len(counts) == classes and len(set(counts.tolist())) == 1


def test_no_scan_stands_in_training_and_in_test(made: Composition) -> None:
    train = made.scans[made.split.trainval]
    test = made.scans[np.concatenate([made.split.test_seen, made.split.test_unseen])]
    assert not set(train.ravel().tolist()) & set(test.ravel().tolist())


def test_every_image_shows_the_digits_of_its_class(
    made: Composition, digits: Index, dataset: Dataset
) -> None:
    assert np.array_equal(digits[made.scans], made.numbers[made.labels])
    assert dataset.classes == tuple("".join(map(str, n)) for n in made.numbers)


def test_every_digit_is_trained_at_every_place(made: Composition) -> None:
    trained = made.numbers[np.unique(made.labels[made.split.trainval])]
    assert [set(column) for column in trained.T.tolist()] == [set(range(10))] * 3


def test_it_is_the_same_each_time(dataset: Dataset) -> None:
    again = Digits().load("digits", Path("elsewhere"))
    assert dataset.images is not None and again.images is not None
    assert again.fingerprints() == dataset.fingerprints()
    assert again.images.digest() == dataset.images.digest()


def test_attributes_of_one_number_by_hand() -> None:
    table = semantics(np.array([[0, 7, 8]]))
    present = {name for name, value in zip(table.names, table.attributes[0], strict=True) if value}
    assert present == {
        *("hundreds zero", "hundreds closed loop"),
        *("tens seven", "tens horizontal bar", "tens falling diagonal", "tens sharp corner"),
        *("units eight", "units closed loop", "units double loop"),
    }


def test_groups_are_the_places_and_cover_all_attributes(dataset: Dataset) -> None:
    known = dataset.semantics
    assert sorted(c for group in known.groups.values() for c in group) == list(
        range(3 * (10 + len(STROKES)))
    )
    assert all(
        known.names[c].startswith(place) for place, group in known.groups.items() for c in group
    )


def test_names_that_share_words_have_related_vectors(dataset: Dataset) -> None:
    vectors = dataset.semantics.word_vectors
    assert vectors is not None and vectors.shape == (54, 64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    at = {name: unit[i] for i, name in enumerate(dataset.semantics.names)}
    assert (
        at["tens closed loop"] @ at["units closed loop"]
        > 0.4
        > abs(at["tens three"] @ at["units eight"])
    )


def test_images_open_as_rgb(dataset: Dataset) -> None:
    assert dataset.images is not None
    image = dataset.images.open(0)
    assert (image.mode, image.size) == ("RGB", (112, 48))


def test_ink_stands_in_the_third_of_its_place() -> None:
    blank, full = np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32)
    picture = draw(np.stack([blank, full]), np.array([[0, 1, 0]]))[0].astype(float)
    left, middle, right = (picture[:, 37 * i : 37 * i + 37].mean() for i in range(3))
    assert middle > 2 * max(left, right)
