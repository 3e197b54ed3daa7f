"""From a photo to what a run's model eats: what the run's backbone sees of it, and the features that it makes of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zslkit.config import FeatureConfig, Input
from zslkit.errors import DataError
from zslkit.features.backbones import Transform
from zslkit.features.extract import BATCH
from zslkit.features.forward import forward, frozen
from zslkit.features.store import to_stored
from zslkit.readers.images import read_image

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """How the run in `folder` sees.

    size: (height, width) in pixels of what its backbone was given, None if nobody knows. kind: what the model eats; "image" if its
    backbone is its own. build: makes the frozen backbone.
    """

    folder: Path
    transform: Transform
    size: tuple[int, int] | None
    kind: Input
    features: FeatureConfig
    build: Callable[[], nn.Module]
    device: torch.device

    def photo(self, path: Path) -> Pixels:
        """One image file as the backbone sees it, (h, w, 3) uint8.

        Raises DataError that names the file that is missing, no image, or of another size than the backbone takes.
        """
        return self._fitting(path, self.transform.pixels(_read(path)))

    def inputs(self, photos: Sequence[Pixels]) -> Tensor:
        """What the model eats of what `photo` gave, (B, ...) float32 on the CPU."""
        parts = []
        for i in range(0, len(photos), BATCH):
            images = self.transform.normalise(torch.from_numpy(np.stack(photos[i : i + BATCH])))
            parts.append(images if self.kind == "image" else self._features(images))
        return torch.cat(parts)

    @cached_property
    def _network(self) -> nn.Module:
        return frozen(self.build(), self.device, self.features.precision)

    def _features(self, images: Tensor) -> Tensor:
        """Feature maps as the store would give them back, or their means over positions, of images (B, 3, h, w)."""
        inputs = images.to(self.device).contiguous(memory_format=torch.channels_last)
        features = forward(self._network, inputs, self.features.precision).cpu()
        if self.kind == "pooled":
            return features.mean(dim=(2, 3))
        dtype = self.features.dtype
        to_stored(features, dtype)  # refuses a value that the store's type cannot hold
        rounded: Tensor = features.to(getattr(torch, dtype))
        return rounded.float()

    def _fitting(self, path: Path, pixels: Pixels) -> Pixels:
        found, wanted = pixels.shape[:2], self.size
        if wanted is None or found == wanted:
            return pixels
        fault = (
            "is too small for" if found[0] < wanted[0] or found[1] < wanted[1] else "does not fit"
        )
        raise DataError(
            f"The image {path} of {found[1]}x{found[0]} pixels {fault} the backbone of {self.folder}, which takes images as they are "
            f"and was trained on {wanted[1]}x{wanted[0]}; bring it to that size"
        )


def _read(path: Path) -> Any:
    if not path.exists():
        raise DataError(f"There is no image {path}; check the path")
    if not path.is_file():
        raise DataError(f"{path} is no image file; name the images one by one")
    return read_image(path)
