"""Built-in dataset of handwritten three-digit numbers made of real scans; needs no download."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Box, Dataset, DatasetSource, Index, Split
from zslkit.readers.images import ArrayImages
from zslkit.semantics import Semantics

PLACES = ("hundreds", "tens", "units")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STROKES: dict[str, tuple[int, ...]] = {
    "closed loop": (0, 6, 8, 9),
    "double loop": (8,),
    "straight vertical": (1, 4),
    "horizontal bar": (2, 4, 5, 7),
    "left open curve": (2, 3, 5),
    "right open curve": (5, 6),
    "falling diagonal": (2, 7),
    "sharp corner": (4, 5, 7),
}
"""Stroke -> digits that have it, as most people write them."""

CLASSES, UNSEEN = 200, 50
TRAINVAL, TEST_SEEN, TEST_UNSEEN = 12, 3, 8
"""Images a class in each part of the split."""

SEED = 2024
TEST_SHARE = 0.3
"""Share of the scans of each digit that only test images show."""

HEIGHT, WIDTH, SIDE = 48, 112, 32
WORD_WIDTH = 64


@dataclass(frozen=True)
class Composition:
    """Scans of every image."""

    numbers: Index  # (C, 3) digits of each class, hundreds first
    labels: Index  # (N,) class ids
    split: Split  # Split of the N images
    scans: Index  # (N, 3) row indices into scikit-learn's table of scans


class Digits(DatasetSource):
    """Numbers of three handwritten digits; 150 of the 200 numbers are seen.

    No scan appears both in trainval and in a test set.
    """

    title = "digits (built in)"
    citation = (
        "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
        "Repository, 1998 (scikit-learn's copy)"
    )
    licence = "CC BY 4.0"
    defaults: ClassVar[Mapping[str, Any]] = {
        "backbone": "test_resnet",
        "weights": "trainval",
        "reduction": 16,
        "size": None,
        "pretrain_epochs": 8,
        "dtype": "float32",
    }
    published_as = ""

    def load(self, name: str, root: Path) -> Dataset:
        """Build the dataset, which is the same on every machine; `root` is not used."""
        pixels, digits = read_scans()
        composition = compose(digits)
        classes = tuple("".join(map(str, number)) for number in composition.numbers.tolist())
        keys = [f"{classes[label]}/{i:04d}" for i, label in enumerate(composition.labels.tolist())]
        return Dataset(
            name=name,
            classes=classes,
            labels=composition.labels,
            split=composition.split,
            semantics=semantics(composition.numbers),
            images=ArrayImages(draw(pixels, composition.scans), keys),
            title=self.title,
            defaults=self.defaults,
            places=places(),
        )


def read_scans() -> tuple[NDArray[np.float32], Index]:
    """Ink (1797, 8, 8) between 0 and 1 of scikit-learn's scans, and the digit (1797,) of each."""
    from sklearn.datasets import load_digits

    table = load_digits()
    return (table.images / 16).astype(np.float32), table.target.astype(np.int64)


def compose(digits: Index) -> Composition:
    """Choose classes, their split, and scans for every image; the S scans show `digits` (S,)."""
    rng = np.random.default_rng(SEED)
    numbers, unseen = _choose_classes(rng)
    train_pool, test_pool = _pools(digits, rng)
    labels: list[int] = []
    scans: list[list[int]] = []
    parts: dict[str, list[int]] = {"trainval": [], "test_seen": [], "test_unseen": []}
    for k, number in enumerate(numbers.tolist()):
        wanted = [("trainval", TRAINVAL), ("test_seen", TEST_SEEN)]
        if unseen[k]:
            wanted = [("test_unseen", TEST_UNSEEN)]
        for part, count in wanted:
            pool = train_pool if part == "trainval" else test_pool
            for _ in range(count):
                parts[part].append(len(labels))
                labels.append(k)
                scans.append([int(rng.choice(pool[digit])) for digit in number])
    split = Split(**{part: np.array(index, dtype=np.int64) for part, index in parts.items()})
    return Composition(
        numbers, np.array(labels, dtype=np.int64), split, np.array(scans, dtype=np.int64)
    )


def _choose_classes(rng: np.random.Generator) -> tuple[Index, NDArray[np.bool_]]:
    """Draw the numbers (C, 3), and which of them are unseen (C,)."""
    # Repeat until seen numbers have every digit at every place, so that each attribute occurs.
    while True:
        chosen = np.sort(rng.choice(1000, CLASSES, replace=False)).astype(np.int64)
        numbers = np.stack([chosen // 100, chosen // 10 % 10, chosen % 10], axis=1)
        unseen = np.zeros(CLASSES, dtype=bool)
        unseen[rng.choice(CLASSES, UNSEEN, replace=False)] = True
        if all(len(np.unique(numbers[~unseen, place])) == 10 for place in range(3)):
            return numbers, unseen


def _pools(digits: Index, rng: np.random.Generator) -> tuple[list[Index], list[Index]]:
    """Scans of each digit for trainval, and those for the test sets."""
    train: list[Index] = []
    test: list[Index] = []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(digits == digit))
        cut = round(TEST_SHARE * len(members))
        test.append(members[:cut])
        train.append(members[cut:])
    return train, test


def draw(pixels: NDArray[np.float32], scans: Index) -> NDArray[np.uint8]:
    """Images (N, 48, 112): three scans each, enlarged to 32 px and shifted, bright on dark noise.

    Args:
        pixels: (S, 8, 8) ink between 0 and 1.
        scans: (N, 3) row indices into `pixels`.
    """
    rng = np.random.default_rng(SEED + 1)
    large = _enlarge(pixels)
    canvas = rng.normal(0.15, 0.12, (len(scans), HEIGHT, WIDTH)).astype(np.float32)
    cell = WIDTH // 3
    top = rng.integers(0, HEIGHT - SIDE + 1, scans.shape)
    left = rng.integers(0, cell - SIDE + 1, scans.shape) + cell * np.arange(3)
    ink = rng.uniform(0.5, 0.85, scans.shape).astype(np.float32)
    for i, row in enumerate(scans):
        for place, scan in enumerate(row):
            y, x = top[i, place], left[i, place]
            canvas[i, y : y + SIDE, x : x + SIDE] += ink[i, place] * large[scan]
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8)


def _enlarge(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    from PIL import Image

    filter_ = Image.Resampling.BILINEAR
    resized = [Image.fromarray(scan).resize((SIDE, SIDE), filter_) for scan in pixels]
    return np.stack([np.asarray(image) for image in resized])


def semantics(numbers: Index) -> Semantics:
    """Attributes of numbers: for each place its digit (10 columns) and its strokes (8), 0 or 1.

    Args:
        numbers: (C, 3) digits, hundreds first.
    """
    traits = np.zeros((10, 10 + len(STROKES)), dtype=np.float32)
    traits[:, :10] = np.eye(10)
    for column, having in enumerate(STROKES.values(), 10):
        traits[list(having), column] = 1
    names = tuple(f"{place} {trait}" for place in PLACES for trait in (*WORDS, *STROKES))
    width = traits.shape[1]
    return Semantics(
        attributes=traits[numbers].reshape(len(numbers), -1),
        names=names,
        groups={place: tuple(range(i * width, (i + 1) * width)) for i, place in enumerate(PLACES)},
        word_vectors=np.stack(
            [sum(map(_word_vector, name.split()), np.zeros(WORD_WIDTH)) for name in names]
        ).astype(np.float32),
    )


def places() -> dict[int, Box]:
    """Box of each attribute: the third of the image in which `draw` places its digit."""
    width, cell = 10 + len(STROKES), WIDTH // 3
    return {
        i * width + k: (i * cell / WIDTH, 0.0, (i + 1) * cell / WIDTH, 1.0)
        for i in range(len(PLACES))
        for k in range(width)
    }


def _word_vector(word: str) -> NDArray[np.float64]:
    # Seeded by the word, so that names with a common word have related vectors.
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(scale=WORD_WIDTH**-0.5, size=WORD_WIDTH)
