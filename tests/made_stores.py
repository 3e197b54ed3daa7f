"""Made-up photos, and stores of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zslkit.config import FeatureConfig
from zslkit.dataset import Images
from zslkit.features.backbones import Backbone, load_backbone
from zslkit.features.extract import open_store
from zslkit.features.store import FeatureStore
from zslkit.readers.images import FileImages
from zslkit.utils.progress import Silent


@cache
def backbone() -> Backbone:
    return load_backbone(FeatureConfig(backbone="mobilenetv3_small_050", weights="random", size=64))


@dataclass(frozen=True)
class Watched(FileImages):
    """Images that note what is opened, and call `before` first."""

    before: Callable[[int], object] = id
    opened: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def open(self, index: int) -> Image.Image:
        self.before(index)
        self.opened.append(index)
        return super().open(index)

    def digest(self) -> str:
        self.digests.append(super().digest())
        return self.digests[-1]


def photos(folder: Path, number: int = 12, seed: int = 0) -> Watched:
    """Made-up photos of two by two coloured squares."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    names = [f"{i:03d}.png" for i in range(number)]
    for name in names:
        colours = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(colours.repeat(32, 0).repeat(40, 1)).save(folder / name)
    return Watched(folder, names)


def store_of(images: Images, using: Backbone | None = None, dtype: str = "float32") -> FeatureStore:
    return open_store("made-up", images, using or backbone(), dtype, torch.device("cpu"), Silent())
