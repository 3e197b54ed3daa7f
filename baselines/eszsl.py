"""ESZSL: a bilinear map between features and attributes in closed form (Romera-Paredes & Torr, ICML 2015)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from zslkit.model import Model, ModelConfig, Task, Trainer, TrainingView

from .pooled import column_of, regularised


class ESZSLConfig(ModelConfig):
    """Settings of ESZSL. The regularisers are values, not exponents; the paper searches powers of ten."""

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

    X (D, N) are the training features as columns, Y (N, C_s) is 1 at the true class and 0 elsewhere, and
    S (A, C_s) holds the attribute vectors of the seen classes as columns: unseen classes do not enter.
    The paper writes -1 for 0 (`targets: signs`); the authors' program and the public ports have 0.
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
        """Solve for W in float64. Raises TrainingError if a regulariser is too small for the system to be solved."""
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
    """What the closed form needs of the images: X X^T (D, D) and X Y (D, C_s), without a table Y of N x C_s.

    Args:
        x: Features (N, D), float64.
        column: Place of each image's class among the seen ones, (N,).
        n_seen: Number of seen classes, C_s.
        targets: "released" for Y = onehot, "signs" for Y = 2 * onehot - 1.
    """
    per_class = x.new_zeros(n_seen, x.shape[1]).index_add_(0, column, x)
    if targets == "signs":
        per_class = 2 * per_class - x.sum(dim=0)
    return x.T @ x, per_class.T


def solve(gram: Tensor, targets: Tensor, attributes: Tensor, gamma: float, lam: float) -> Tensor:
    """W (D, A) from X X^T (D, D), X Y (D, C_s) and the seen classes' attributes (C_s, A), all float64.

    Raises TrainingError that names gamma or lam where its system is singular.
    """
    left = regularised(gram, gamma, "eszsl", "gamma", "features")
    right = regularised(attributes.T @ attributes, lam, "eszsl", "lam", "attributes")
    half = torch.cholesky_solve(targets @ attributes, left)  # (D, A)
    return torch.cholesky_solve(half.T, right).T
