"""EarlierClosed: from features to attributes by one linear system."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from zslkit.model import Model, ModelConfig, Task, Trainer, TrainingView


class EarlierClosedConfig(ModelConfig):
    """Settings of EarlierClosed."""

    lam: float = Field(1.0, gt=0, description="regulariser l of the regression")


class EarlierClosed(Model):
    """Ridge regression from features to attributes.

        W = (X^T X + l I)^-1 X^T S      X (N, D) training features, row n of S (N, A) the attributes of image n's class
        z_k = cos(W^T x, a_k)           class score

    X and S are taken less their means over the training images.
    """

    inputs = ("pooled",)
    citation = "unpublished"
    presets = "presets"
    search: ClassVar = {"lam": (1e-2, 1e-1, 1.0, 1e1, 1e2)}
    Config = EarlierClosedConfig

    config: EarlierClosedConfig
    W: Tensor
    feature_mean: Tensor
    attribute_mean: Tensor

    def __init__(self, config: EarlierClosedConfig, task: Task) -> None:
        super().__init__(config, task)
        width = task.feature_shape[0]
        # What is solved for is kept in buffers: they are saved with a run, move with the model and get no gradient.
        self.register_buffer("W", torch.zeros(width, task.n_attributes))
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("attribute_mean", torch.zeros(task.n_attributes))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        x, s = x.to(trainer.device), self.attributes[label.to(trainer.device)]
        self.feature_mean.copy_(x.mean(dim=0))
        self.attribute_mean.copy_(s.mean(dim=0))
        X, S = (x - self.feature_mean).double(), (s - self.attribute_mean).double()
        gram = X.T @ X
        gram.diagonal().add_(self.config.lam)
        self.W.copy_(torch.linalg.solve(gram, X.T @ S))
        trainer.log(lam=self.config.lam, norm=float(self.W.norm()))

    def scores(self, x: Tensor) -> Tensor:
        s = (x - self.feature_mean) @ self.W + self.attribute_mean
        return F.normalize(s, dim=1) @ F.normalize(self.attributes, dim=1).T
