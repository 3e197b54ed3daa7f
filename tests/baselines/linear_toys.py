"""What the tests of the linear baselines train on: a handful of features, a task, and the harness's
own trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zslkit.model import Model, ModelConfig, Task
from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent

TABLE = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=float)
"""Attributes of six classes, two of which `learnable` keeps unseen."""
SEEN = [True, True, True, False, True, False]


class View:
    """A TrainingView over tensors."""

    def __init__(self, x: Tensor, labels: Tensor) -> None:
        self.x, self._labels = x, labels

    @property
    def labels(self) -> np.ndarray:
        return self._labels.numpy()

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: np.ndarray) -> Tensor:
        return self.x[torch.from_numpy(index)]

    def everything(self) -> tuple[Tensor, Tensor]:
        return self.x, self._labels


def task(attributes: np.ndarray, seen: list[bool], width: int) -> Task:
    return Task(
        dataset="made-up",
        classes=tuple(f"class {k}" for k in range(len(attributes))),
        seen=np.array(seen),
        attributes=attributes.astype(np.float32),
        attribute_names=tuple(f"attribute {i}" for i in range(attributes.shape[1])),
        input="pooled",
        feature_shape=(width,),
    )


def trained(kind: type[Model], config: ModelConfig, given: Task, view: View, seed: int = 0) -> Any:
    """The model after the harness's own training."""
    torch.manual_seed(seed)
    model = kind(config, given)
    model.fit(
        view, Loop(seed=seed, device=torch.device("cpu"), reporter=Silent(), log=lambda **_: None)
    )
    return model.eval()


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_view(seed: int, n: int, width: int, classes: list[int]) -> View:
    """Features without a meaning, the classes in turn."""
    return View(noise(seed, n, width), torch.tensor([classes[i % len(classes)] for i in range(n)]))


def learnable(width: int = 8) -> tuple[Task, View, Tensor, np.ndarray]:
    """A task in which each attribute has a look of its own; its training images, and images of the
    unseen classes with theirs."""
    rng = np.random.default_rng(0)
    look = rng.normal(size=(3, width))
    seen, unseen = np.repeat([0, 1, 2, 4], 20), np.repeat([3, 5], 20)

    def images(label: np.ndarray) -> Tensor:
        return torch.from_numpy(
            TABLE[label] @ look + 0.1 * rng.normal(size=(len(label), width))
        ).float()

    return (
        task(TABLE, SEEN, width),
        View(images(seen), torch.from_numpy(seen)),
        images(unseen),
        unseen,
    )


def accuracy_among_unseen(scores: Tensor, label: np.ndarray) -> float:
    unseen = np.flatnonzero(~np.array(SEEN))
    return float((unseen[scores[:, unseen].argmax(1).numpy()] == label).mean())
