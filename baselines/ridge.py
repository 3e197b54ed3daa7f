"""Ridge: nearest class mean, with means of unseen classes predicted by ridge regression."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from zslkit.model import Model, Task, Trainer, TrainingView

from .pooled import PooledConfig, Scaling, class_means, column_of, regularised


class RidgeConfig(PooledConfig):
    """Settings of the ridge regression."""

    lam: float = Field(0.1, ge=0, description="regulariser l of the regression")


class Ridge(Model):
    """Scores -||x - m_k||^2, the negative squared distance to the mean m_k of class k.

        m_k = mean of the class's training features                 for a seen class
        m_k = m + B^T (a_k - a),  B = (A^T A + l I)^-1 A^T M        for an unseen class

    Row k of A (C_s, A) and M (C_s, D) are a seen class's attributes and mean feature, minus their
    means a and m over the seen classes, in which each class counts once. A simple baseline: two
    averages and one linear system. The regression goes from attributes to features, which avoids
    hubs among nearest neighbours (the point of the cited paper).
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = (
        "Shigeto, Suzuki, Hara, Shimbo and Matsumoto. Ridge regression, hubness, and "
        "zero-shot learning. ECML PKDD 2015"
    )
    presets = "presets/ridge"
    search: ClassVar = {
        "normalise": ("none", "l2"),
        "lam": (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 1e1),
    }
    Config = RidgeConfig

    config: RidgeConfig
    means: Tensor
    B: Tensor
    attribute_mean: Tensor
    feature_mean: Tensor

    def __init__(self, config: RidgeConfig, task: Task) -> None:
        super().__init__(config, task)
        width, n_attributes = task.feature_shape[0], task.n_attributes
        self.scaling = Scaling(config, width)
        self.register_buffer("means", torch.zeros(int(self.seen.sum()), width))
        self.register_buffer("B", torch.zeros(n_attributes, width))
        self.register_buffer("attribute_mean", torch.zeros(n_attributes))
        self.register_buffer("feature_mean", torch.zeros(width))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Compute the means and solve for B in float64.

        Raises:
            TrainingError: lam is too small.
        """
        x, label = self.scaling.measure(view, "ridge", trainer.device)
        means = class_means(x.double(), column_of(self.seen)[label], len(self.means))
        attributes = self.attributes[self.seen].double()
        B = regression(
            attributes - attributes.mean(dim=0), means - means.mean(dim=0), self.config.lam
        )
        self.means.copy_(means)
        self.B.copy_(B)
        self.attribute_mean.copy_(attributes.mean(dim=0))
        self.feature_mean.copy_(means.mean(dim=0))
        trainer.log(lam=self.config.lam, norm=float(B.norm()))

    def scores(self, x: Tensor) -> Tensor:
        m = self.feature_mean + (self.attributes - self.attribute_mean) @ self.B
        m[self.seen] = self.means
        x = self.scaling(x)
        # Without ||x||^2, which is equal for all classes of an image, to keep precision.
        return 2 * x @ m.T - m.square().sum(dim=1)


def regression(A: Tensor, M: Tensor, lam: float) -> Tensor:
    """B = (A^T A + lam I)^-1 A^T M.

    Args:
        A: `(C_s, A)` float64.
        M: `(C_s, D)` float64.
        lam: Regulariser.

    Raises:
        TrainingError: The system is singular; the message names lam.
    """
    return torch.cholesky_solve(A.T @ M, regularised(A.T @ A, lam, "ridge", "lam", "attributes"))
