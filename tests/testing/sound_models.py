"""Models that keep the contract: one trained in steps, one tuned end to end, one solved at once,
one that trains itself in stages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.model import (
    AttentionMaps,
    GradientConfig,
    GradientModel,
    Model,
    ModelConfig,
    Task,
    Trainer,
    TrainingView,
)


class Good(GradientModel):
    """Regions are projected to attributes; a class is as near as its attributes are to their
    mean."""

    inputs = ("map", "pooled")
    loss_is_mean = True
    citation = "Made up for a test"
    Config = GradientConfig

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.project = nn.Linear(
            task.feature_shape[0] if task.map_shape is None else task.map_shape[0],
            task.n_attributes,
        )

    def scores(self, x: Tensor) -> Tensor:
        f = self.embed(x)
        s = self.project(f.mean(dim=(2, 3)) if f.ndim == 4 else f)
        return 20 * F.normalize(s, dim=1) @ self.attributes.T

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {
            "cross_entropy": F.cross_entropy(
                self.scores(x).masked_fill(~self.seen, float("-inf")), label
            )
        }

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        f = self.embed(x)
        maps = torch.einsum("bdhw,ad->bahw", f, self.project.weight)
        return {
            "region": AttentionMaps(
                maps,
                maps.mean(dim=(2, 3)),
                f.mean(dim=(2, 3))[:, None].expand(-1, maps.shape[1], -1),
            )
        }


class Tuned(Good):
    inputs = ("image",)


class ClosedForm(Model):
    """Least squares from features to attributes: nothing is random, nothing is trained in steps."""

    inputs = ("pooled",)
    citation = "Made up for a test"
    W: Tensor

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("W", torch.zeros(task.feature_shape[0], task.n_attributes))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        self.W.copy_(torch.linalg.lstsq(x, self.attributes[label]).solution)

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.W @ self.attributes.T


class Staged(Model):
    """Trains itself in two stages, with random batches in both; the second starts from what the
    first has learnt."""

    inputs = ("pooled",)
    citation = "Made up for a test"

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.project = nn.Linear(task.feature_shape[0], task.n_attributes)

    def kept(self, random: torch.Generator) -> dict[str, Any]:
        return {"random": random}

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        random = torch.Generator().manual_seed(trainer.seed)
        for name, lr in (("rough", 0.03), ("fine", 0.003)):
            optimizer = torch.optim.Adam(self.parameters(), lr=lr)
            for _ in (
                stage := trainer.stage(
                    name, 3, {"model": self, "optimizer": optimizer, **self.kept(random)}, steps=15
                )
            ):
                for _ in range(15):
                    index = torch.randint(len(x), (18,), generator=random)
                    seen = self.scores(x[index]).masked_fill(~self.seen, float("-inf"))
                    loss = F.cross_entropy(seen, label[index])
                    stage.step(cross_entropy=loss)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

    def scores(self, x: Tensor) -> Tensor:
        return 20 * F.normalize(self.project(x), dim=1) @ self.attributes.T
