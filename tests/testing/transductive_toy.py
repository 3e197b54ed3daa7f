"""A transductive model that a plugin could bring: least squares, then class means that move to the
unlabelled images."""

from __future__ import annotations

import torch
from torch import Tensor

from zslkit.model import Model, ModelConfig, Task, Trainer, TrainingView


class Moving(Model):
    """Class means (C, D) are regressed from attributes, and move to the mean of the unlabelled
    images that are nearest to them."""

    inputs = ("pooled",)
    protocol = "transductive"
    citation = "Made up for a test"
    means: Tensor

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("means", torch.zeros(task.n_classes, task.feature_shape[0]))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        given = self.attributes[label]
        ridge = given.T @ given + 1e-2 * torch.eye(given.shape[1])
        means = self.attributes @ torch.linalg.solve(ridge, given.T @ x)
        unlabelled = view.unlabelled().everything()
        for _ in range(3):
            nearest = torch.cdist(unlabelled, means).argmin(dim=1)
            for k in range(len(means)):
                if (nearest == k).any() and not self.seen[k]:
                    means[k] = unlabelled[nearest == k].mean(dim=0)
        self.means.copy_(means)

    def scores(self, x: Tensor) -> Tensor:
        return -torch.cdist(x, self.means)


class Sly(Moving):
    """Asks for the test images and does not say so."""

    protocol = "class-inductive"


class Idle(Moving):
    """Says that it is transductive, and uses nothing of the test images."""

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        given = self.attributes[label]
        self.means.copy_(
            self.attributes
            @ torch.linalg.solve(given.T @ given + 1e-2 * torch.eye(given.shape[1]), given.T @ x)
        )
