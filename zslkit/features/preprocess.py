"""Preprocessing of new photos for the model of a finished run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

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
from zslkit.readers.image_file import photo_name, read_photo

if TYPE_CHECKING:
    from zslkit.readers.image_file import Photo

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """Preprocessing of one run."""

    folder: Path
    transform: Transform
    # (height, width) in pixels of the backbone's inputs, None if unknown
    size: tuple[int, int] | None
    kind: Input  # Input of the model; "image" if the model contains its backbone
    features: FeatureConfig
    build: Callable[[], nn.Module]
    device: torch.device

    def photo(self, photo: Photo) -> Pixels:
        """One photo, a path or an image of Pillow, as the backbone sees it: (h, w, 3) uint8.

        Raises:
            DataError: Names the file that is missing, not an image, or of a size that the backbone
                does not take.
        """
        return self._fitting(photo, self.transform.pixels(read_photo(photo)))

    def inputs(self, photos: Sequence[Pixels]) -> Tensor:
        """Inputs (B, ...) of the model, float32 on the CPU, for photos from `photo`."""
        parts = []
        for i in range(0, len(photos), BATCH):
            images = self.transform.normalise(torch.from_numpy(np.stack(photos[i : i + BATCH])))
            parts.append(images if self.kind == "image" else self._features(images))
        return torch.cat(parts)

    @cached_property
    def _network(self) -> nn.Module:
        return frozen(self.build(), self.device, self.features.precision)

    def _features(self, images: Tensor) -> Tensor:
        """Features of images (B, 3, h, w): maps rounded as in the store, or their means."""
        inputs = images.to(self.device).contiguous(memory_format=torch.channels_last)
        features = forward(self._network, inputs, self.features.precision).cpu()
        if self.kind == "pooled":
            return features.mean(dim=(2, 3))
        dtype = self.features.dtype
        to_stored(features, dtype)  # raises for a value that overflows the store's type
        rounded: Tensor = features.to(getattr(torch, dtype))
        return rounded.float()

    def _fitting(self, photo: Photo, pixels: Pixels) -> Pixels:
        """Check the size of a photo."""
        found, wanted = pixels.shape[:2], self.size
        if wanted is None or found == wanted:
            return pixels
        fault = (
            "is too small for" if found[0] < wanted[0] or found[1] < wanted[1] else "does not fit"
        )
        raise DataError(
            f"The image {photo_name(photo)} of {found[1]}x{found[0]} pixels {fault} the backbone "
            f"of {self.folder}, which takes images as they are and was trained on "
            f"{wanted[1]}x{wanted[0]}; bring it to that size"
        )
