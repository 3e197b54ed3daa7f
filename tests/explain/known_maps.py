"""A model whose attention maps and attribute scores are known, on the digits of a run."""

from __future__ import annotations

import torch
from torch import Tensor

from zslkit.model import AttentionMaps, Model, ModelConfig, Task, Trainer, TrainingView

A, H, W = 54, 3, 7
"""Of digits under its own backbone; 18 attributes a place."""
PEAKS = (0, 3, 6)
"""A column of the map in each place's third."""


class Toy(Model):
    """Looks where it was told, whatever the image, and finds what it was told."""

    def __init__(self, task: Task, parts: dict[str, AttentionMaps], s: Tensor) -> None:
        super().__init__(ModelConfig(), task)
        self.parts, self.s = parts, s

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        raise NotImplementedError

    def scores(self, x: Tensor) -> Tensor:
        return (self.s @ self.attributes.T).expand(len(x), -1)

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        def each(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.expand(len(x), *value.shape)

        return {
            k: AttentionMaps(p.maps.expand(len(x), -1, -1, -1), each(p.scores), each(p.channels))
            for k, p in self.parts.items()
        }


def maps_at(columns: tuple[int, int, int]) -> Tensor:
    """Maps (A, H, W) that look at one column of cells for each place."""
    maps = torch.zeros(A, H, W)
    for place, column in enumerate(columns):
        maps[place * 18 : place * 18 + 18, 1, column] = 1
    return maps
