"""Reads the batches of a training, photos at random crops if the settings ask for them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zslkit.config import TrainConfig
from zslkit.features.augment import draw_cut
from zslkit.model import TrainingView


def asked(config: TrainConfig) -> bool:
    """Whether the settings ask for random crops or mirror images."""
    return config.random_crop > 1 or config.flip


def cuttable(view: TrainingView) -> bool:
    """Whether the inputs of a view are photos, which can be read at other places."""
    return bool(getattr(view, "cuttable", False))


def reader(
    view: TrainingView, config: TrainConfig, seed: int, epoch: int
) -> Callable[[NDArray[np.int64]], Tensor]:
    """Function of indices (B,) into the view that gives inputs (B, ...) float32 of one epoch.

    It is called once for each step and in their order. Seed, epoch, step and image alone decide how
    a photo is cut, so that a resumed run repeats it, and processes that share a batch cut it as one
    process does.
    """
    if not (asked(config) and cuttable(view)):
        return view.batch
    steps = count()

    def read(index: NDArray[np.int64]) -> Tensor:
        step = next(steps)
        cuts = [
            draw_cut(config.random_crop, config.flip, [seed, epoch, 2, step, int(i)]) for i in index
        ]
        inputs: Tensor = view.cut(index, cuts)  # type: ignore[attr-defined]
        return inputs

    return read
