"""How much room the feature store of a dataset takes, before anything is extracted."""

from __future__ import annotations

import math

import torch

from zslkit.config import FeatureConfig
from zslkit.features.backbones import MapNetwork
from zslkit.features.store import stored_dtype


def store_bytes(images: int, features: FeatureConfig, height: int, width: int) -> int:
    """Bytes of the store for this many images of height x width pixels: maps in the store's type and pooled float32.

    The backbone is run on the meta device: shapes alone, no weights. Raises what timm raises for a network it cannot make.
    """
    import timm

    with torch.device("meta"), torch.inference_mode():
        network = MapNetwork(timm.create_model(features.backbone), features.reduction).eval()
        shape = tuple(int(n) for n in network(torch.zeros(1, 3, height, width)).shape[1:])
    return images * (math.prod(shape) * stored_dtype(features.dtype).itemsize + shape[0] * 4)
