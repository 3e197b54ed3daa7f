"""SAE: a linear autoencoder whose code is the class semantics (Kodirov, Xiang & Gong, CVPR 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from baselines.pooled import PooledConfig, Scaling
from zslkit.errors import TrainingError
from zslkit.model import Model, Task, Trainer, TrainingView


class SAEConfig(PooledConfig):
    """Settings of SAE."""

    lam: float = Field(0.1, gt=0, description="weight l of the encoder against the decoder")
    gamma: float = Field(
        1e-6, ge=0, description="added to every eigenvalue of l X X^T, for data with fewer images than channels; 0 in the paper"
    )
    direction: Literal["to_semantics", "to_features"] = Field(
        "to_semantics", description="compare in the space of the attributes, W x with a_k, or in that of the features, x with W^T a_k"
    )


class SAE(Model):
    """Minimises ||X - W^T S||^2 + l ||W X - S||^2, whose solution W (A, D) solves S S^T W + W (l X X^T) = (1 + l) S X^T.

    X (D, N) are the training features and S (A, N) the attributes of each image's class, as columns. A class scores the
    cosine of W x and a_k, or of x and W^T a_k.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = "Kodirov, Xiang and Gong. Semantic autoencoder for zero-shot learning. CVPR 2017"
    presets = "presets/sae"
    search: ClassVar = {"direction": ("to_features", "to_semantics"), "lam": (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 1e1)}
    Config = SAEConfig

    config: SAEConfig
    W: Tensor

    def __init__(self, config: SAEConfig, task: Task) -> None:
        super().__init__(config, task)
        self.scaling = Scaling(config, task.feature_shape[0])
        self.register_buffer("W", torch.zeros(task.n_attributes, task.feature_shape[0]))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Solve for W in float64. Raises TrainingError if the equation has no single solution."""
        x, label = self.scaling.measure(view, "sae", trainer.device)
        x, s = x.double(), self.attributes[label].double()
        W = solve(s.T @ s, x.T @ x, s.T @ x, self.config.lam, self.config.gamma)
        self.W.copy_(W)
        trainer.log(lam=self.config.lam, norm=float(W.norm()))

    def scores(self, x: Tensor) -> Tensor:
        x = self.scaling(x)
        if self.config.direction == "to_semantics":
            return F.normalize(x @ self.W.T, dim=1) @ F.normalize(self.attributes, dim=1).T
        return F.normalize(x, dim=1) @ F.normalize(self.attributes @ self.W, dim=1).T

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """The code W x (B, A), in whichever space classes are compared."""
        code: Tensor = self.scaling(x) @ self.W.T
        return code


def solve(SS: Tensor, XX: Tensor, SX: Tensor, lam: float, gamma: float = 0.0) -> Tensor:
    """W (A, D) of SS W + W (lam XX + gamma I) = (1 + lam) SX. SS (A, A) and XX (D, D) symmetric, SX (A, D), all float64.

    Both are symmetric, so their eigenvectors turn this Sylvester equation into one division an entry: at D = 2048 that
    takes seconds where the Schur forms of the general method take minutes. Raises TrainingError that names gamma if two
    eigenvalues add up to zero, where W is not unique.
    """
    p, U = torch.linalg.eigh(SS)
    q, V = torch.linalg.eigh(lam * XX)
    sums = p.unsqueeze(1) + (q + gamma)
    if not sums.min() > max(SX.shape) * torch.finfo(SX.dtype).eps * sums.max():
        raise TrainingError(
            f"sae: the Sylvester equation is singular with gamma = {gamma:g}, since neither the attributes of the seen classes nor "
            "the features have full rank; set gamma to a larger value, for instance gamma=1"
        )
    W: Tensor = U @ ((1 + lam) * (U.T @ SX @ V) / sums) @ V.T
    return W
