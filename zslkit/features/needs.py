"""Disk space that a feature store needs, computed before extraction."""

from __future__ import annotations

import math

import torch

from zslkit.config import FeatureConfig
from zslkit.features.backbones import headless, untrained
from zslkit.features.store import stored_dtype


def store_bytes(images: int, features: FeatureConfig, height: int, width: int) -> int:
    """Size in bytes of a store: maps in the type of the store, and pooled float32.

    The backbone runs on the meta device: shapes only, without weights.

    Args:
        images: Number of images.
        features: The section `features`.
        height: Height of an image in pixels.
        width: Width of an image in pixels.

    Raises:
        Exception: Any error of timm for a network that it cannot create.
    """
    with torch.device("meta"), torch.inference_mode():
        made = untrained(features).network
        network = headless(made, features.reduction, features.pooling).eval()
        shape = tuple(int(n) for n in network(torch.zeros(1, 3, height, width)).shape[1:])
    return images * (math.prod(shape) * stored_dtype(features.dtype).itemsize + shape[0] * 4)
