"""A made-up task and a made-up world that the tests of attention models share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zslkit.model import GradientModel, Task

C, A, WORDS, D, H, W = 5, 4, 3, 6, 2, 3
SEEN = [True, False, True, True, False]
LABEL = torch.tensor([0, 2, 3, 0])
"""Classes of four images, none of them unseen."""
GROUPS = {"head": (0, 2), "tail": (1, 3)}


def backbone() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 5, 2, stride=2), nn.Tanh(), nn.Conv2d(5, D, 1))


def task(
    words: bool = True,
    images: bool = False,
    shape: tuple[int, int, int] | None = (D, H, W),
    groups: bool = True,
) -> Task:
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
        groups=GROUPS if groups else {},
        word_vectors=rng.normal(size=(A, WORDS)).astype(np.float32) if words else None,
        build_backbone=backbone if images else None,
    )


def every_gradient_is_finite(made: nn.Module) -> None:
    """And none is missing or zero."""
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def world() -> Task:
    """A task in which region after region shows an attribute that its class has; class e alone is
    unseen."""
    table = np.array(
        [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32
    )
    return Task(
        dataset="made-up",
        classes=tuple("abcde"),
        seen=np.array([True, True, True, True, False]),
        attributes=table / np.linalg.norm(table, axis=1, keepdims=True),
        attribute_names=("beak", "length", "eye", "colour"),
        input="map",
        feature_shape=(D, H, W),
        map_shape=(D, H, W),
    )


def trained_in_the_world(made: GradientModel, optimizer: Optimizer) -> tuple[float, float]:
    """After 60 steps over 80 images: how many of the seen classes' images are named right among
    those, and how many of the unseen class's
    are nearer to it than to a seen one that shares no attribute with it. Both from 0 to 1.
    """
    rng = np.random.default_rng(0)
    look = rng.normal(size=(A, D))

    def images(label: np.ndarray) -> Tensor:
        maps = 0.1 * rng.normal(size=(len(label), D, H * W))
        for n, k in enumerate(label):
            present = np.flatnonzero(made.task.attributes[k])
            for place in range(H * W):
                maps[n, :, place] += look[rng.choice(present)]
        return torch.from_numpy(maps.reshape(len(label), D, H, W)).float()

    label = np.tile(np.arange(4), 20)
    x, y = images(label), torch.from_numpy(label)
    for _ in range(60):
        optimizer.zero_grad()
        sum(made.loss(x, y).values()).backward()
        optimizer.step()
    with torch.no_grad():
        test = np.tile(np.arange(4), 10)
        right = (made.scores(images(test))[:, :4].argmax(1).numpy() == test).mean()
        unseen = made.scores(images(np.full(20, 4)))
    return float(right), (unseen[:, 4] > unseen[:, 0]).float().mean().item()
