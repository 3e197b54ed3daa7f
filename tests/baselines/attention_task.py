"""A made-up task that the tests of attention models share."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from zslkit.model import Task

C, A, WORDS, D, H, W = 5, 4, 3, 6, 2, 3
SEEN = [True, False, True, True, False]
GROUPS = {"head": (0, 2), "tail": (1, 3)}


def backbone() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 5, 2, stride=2), nn.Tanh(), nn.Conv2d(5, D, 1))


def task(words: bool = True, images: bool = False, shape: tuple[int, int, int] | None = (D, H, W)) -> Task:
    rng = np.random.default_rng(1)
    table = rng.random((C, A))
    return Task(
        dataset="made-up",
        classes=tuple("abcde"),
        seen=np.array(SEEN),
        attributes=(table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32),
        attribute_names=("beak", "length", "eye", "colour"),
        input="image" if images else "map",
        feature_shape=(3, 2 * H, 2 * W) if images else (shape or (D,)),
        map_shape=shape,
        groups=GROUPS,
        word_vectors=rng.normal(size=(A, WORDS)).astype(np.float32) if words else None,
        build_backbone=backbone if images else None,
    )
