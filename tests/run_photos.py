"""The dataset that the runs of run_folders are of, with photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from run_folders import random_scores

from zslkit.dataset import Dataset, Split
from zslkit.semantics import Semantics


@dataclass(frozen=True)
class Photos:
    """Images of one colour each, their number in red. name: what the number is put into."""

    mode: str = "RGB"
    size: tuple[int, int] = (20, 10)
    name: str = "photo {}"

    def __len__(self) -> int:
        return 300

    def open(self, index: int) -> Image.Image:
        return Image.new(self.mode, self.size, (index % 256, 0, 0, 255)[: len(self.mode)])

    def key(self, index: int) -> str:
        return self.name.format(index)

    def digest(self) -> str:
        return "d"


def photographed(photos: Photos | None = None) -> Dataset:
    """Test images stand from 100 and from 200 on; the labels are those of random_scores."""
    scores = random_scores(1.0)
    labels = np.zeros(300, dtype=np.int64)
    labels[:8], labels[100:160], labels[200:260] = (
        np.arange(8) % 4,
        scores.test_seen_labels,
        scores.test_unseen_labels,
    )
    split = Split(np.arange(8), np.arange(100, 160), np.arange(200, 260))
    semantics = Semantics(attributes=np.eye(6, dtype=np.float32), names=tuple("abcdef"))
    return Dataset("birds", scores.classes, labels, split, semantics, images=photos or Photos())
