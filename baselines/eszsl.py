"""ESZSL: a bilinear map in closed form (Romera-Paredes and Torr, ICML 2015)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from zslkit.model import Model, ModelConfig, Task, Trainer, TrainingView

from .pooled import column_of, regularised


class ESZSLConfig(ModelConfig):
    """Settings of ESZSL.

    Regularisers are values, not exponents; the paper searches powers of ten.
    """

    gamma: float = Field(
        1.0, ge=0, description="regulariser g of the features, 1e-3..1e3 in the paper"
    )
    lam: float = Field(
        1.0, ge=0, description="regulariser l of the attributes, 1e-3..1e3 in the paper"
    )
    targets: Literal["released", "signs"] = Field(
        "released",
        description=(
            "what an image should answer to the other seen classes: 0 as in the authors' "
            "program, or -1 as in the paper"
        ),
    )
    normalise: Literal["none", "l2"] = Field(
        "none", description="features as given, or each divided by its L2 norm"
    )


class ESZSL(Model):
    """Scores x^T W a_k with W = (X X^T + g I)^-1 X Y S^T (S S^T + l I)^-1.

    X (D, N) are the training features as columns, Y (N, C_s) is 1 at the true class and 0
    elsewhere, and S (A, C_s) holds the attribute vectors of the seen classes as columns. Unseen
    classes are not used. The paper has -1 instead of 0 (`targets: signs`); the authors' program and
    public ports have 0.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = (
        "Romera-Paredes and Torr. An embarrassingly simple approach to zero-shot learning. "
        "ICML 2015"
    )
    presets = "presets/eszsl"
    search: ClassVar = {
        "gamma": (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3),
        "lam": (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3),
    }
    Config = ESZSLConfig

    config: ESZSLConfig
    W: Tensor

    def __init__(self, config: ESZSLConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("W", torch.zeros(task.feature_shape[0], task.n_attributes))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Solve for W in float64.

        Raises:
            TrainingError: A regulariser is too small.
        """
        x, label = view.everything()
        x = self._prepared(x.to(trainer.device)).double()
        known = self.attributes[self.seen].double()
        gram, targets = statistics(
            x, column_of(self.seen)[label.to(x.device)], len(known), self.config.targets
        )
        solution = solve(gram, targets, known, self.config.gamma, self.config.lam)
        self.W.copy_(solution)
        trainer.log(gamma=self.config.gamma, lam=self.config.lam, norm=float(solution.norm()))

    def scores(self, x: Tensor) -> Tensor:
        return self.evidence(x) @ self.attributes.T

    def evidence(self, x: Tensor) -> Tensor:
        return self._prepared(x) @ self.W

    def _prepared(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) if self.config.normalise == "l2" else x


def statistics(
    x: Tensor, column: Tensor, n_seen: int, targets: str = "released"
) -> tuple[Tensor, Tensor]:
    """Sums over images for the closed form, without a table Y of size N x C_s.

    Args:
        x: Features `(N, D)`, float64.
        column: `(N,)` index of each image's class among the seen classes.
        n_seen: Number of seen classes, C_s.
        targets: "released" for Y = onehot, "signs" for Y = 2 * onehot - 1.

    Returns:
        X X^T `(D, D)` and X Y `(D, C_s)`.
    """
    per_class = x.new_zeros(n_seen, x.shape[1]).index_add_(0, column, x)
    if targets == "signs":
        per_class = 2 * per_class - x.sum(dim=0)
    return x.T @ x, per_class.T


def solve(gram: Tensor, targets: Tensor, attributes: Tensor, gamma: float, lam: float) -> Tensor:
    """Solve for W `(D, A)`. All tensors are float64.

    Args:
        gram: X X^T `(D, D)`.
        targets: X Y `(D, C_s)`.
        attributes: `(C_s, A)` of the seen classes.
        gamma: Regulariser of the features.
        lam: Regulariser of the attributes.

    Raises:
        TrainingError: A system is singular; the message names gamma or lam.
    """
    left = regularised(gram, gamma, "eszsl", "gamma", "features")
    right = regularised(attributes.T @ attributes, lam, "eszsl", "lam", "attributes")
    half = torch.cholesky_solve(targets @ attributes, left)  # (D, A)
    return torch.cholesky_solve(half.T, right).T
