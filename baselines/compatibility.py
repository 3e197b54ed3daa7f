"""Bilinear compatibility F(x, y) = x^T W a_y, the base of DeViSE, SJE, ALE and LATEM."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor, nn

from zslkit.config import TrainConfig
from zslkit.model import GradientConfig, GradientModel, Task, Trainer, TrainingView

from .pooled import PooledConfig, Scaling, column_of


class CompatibilityConfig(PooledConfig, GradientConfig):
    """Settings of all four models.

    F is linear in W and the hinges in F and margin, so scaling margin and train.lr by c scales W by
    c: searching one of the two is enough.
    """

    margin: float = Field(
        1.0, gt=0, description="by how much the true class must win, in units of F"
    )
    train: TrainConfig = TrainConfig(epochs=40, optimizer="sgd", lr=0.3, weight_decay=0.0)


class Compatibility(GradientModel):
    """Ranks the true class above other seen classes by a margin; unseen classes are not used.

    h_y = [margin + F(x, y) - F(x, y_n)]_+ for every seen class y other than the true class y_n. A
    subclass defines the loss of these hinges, and may define F. x is scaled with statistics of the
    training images.
    """

    inputs = ("pooled",)
    protocol = "inductive"

    config: CompatibilityConfig
    column: Tensor
    seen_rows: Tensor

    def __init__(self, config: CompatibilityConfig, task: Task) -> None:
        super().__init__(config, task)
        self.scaling = Scaling(config, task.feature_shape[0])
        self.W = nn.Parameter(1e-3 * torch.randn(self.shape_of_W()))
        self.register_buffer("column", column_of(self.seen), persistent=False)
        # Indices, since a mask would stop an accelerator in every step.
        self.register_buffer("seen_rows", self.seen.nonzero().flatten(), persistent=False)

    def shape_of_W(self) -> tuple[int, ...]:
        """(D, A). W starts random and small, so that untrained entries have no effect."""
        return self.task.feature_shape[0], self.task.n_attributes

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        self.scaling.measure(view, type(self).__name__.lower(), torch.device("cpu"))
        super().fit(view, trainer)

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        F = self.compatibility(self.scaling(x), self.attributes.index_select(0, self.seen_rows))
        return {"ranking": self.ranking(hinges(F, self.column[label], self.config.margin)).mean()}

    def scores(self, x: Tensor) -> Tensor:
        return self.compatibility(self.scaling(x), self.attributes)

    def compatibility(self, x: Tensor, attributes: Tensor) -> Tensor:
        """F `(B, K)` of scaled features x `(B, D)` and classes with attributes `(K, A)`."""
        return x @ self.W @ attributes.T

    def evidence(self, x: Tensor) -> Tensor | None:
        """x^T W `(B, A)`; None if a subclass defines its own F."""
        linear = type(self).compatibility is Compatibility.compatibility
        return self.scaling(x) @ self.W if linear else None

    @abstractmethod
    def ranking(self, h: Tensor) -> Tensor:
        """Loss of each image `(B,)` from its hinges h `(B, C_s)`."""


def hinges(F: Tensor, column: Tensor, margin: float) -> Tensor:
    """h_y = [margin + F_y - F_true]_+, and 0 at the true class.

    Args:
        F: `(B, C_s)`.
        column: `(B,)` index of the true class among the seen classes.
        margin: The margin.

    Returns:
        h `(B, C_s)`.
    """
    true = column.unsqueeze(1)
    return (margin + F - F.gather(1, true)).clamp_min(0).scatter(1, true, 0.0)


def sum_of_hinges(h: Tensor) -> Tensor:
    """sum_y h_y `(B,)`, the loss of DeViSE (Frome et al. 2013, equation 1)."""
    return h.sum(dim=1)


def largest_hinge(h: Tensor) -> Tensor:
    """max_y h_y `(B,)`, the loss of SJE (Akata et al. 2015, with the 0/1 loss as margin)."""
    return h.amax(dim=1)


def rank_weighted(h: Tensor) -> Tensor:
    """l_r / r * sum_y h_y `(B,)`, the loss of ALE (Akata et al. 2016), after WSABIE.

    r is the number of classes that violate the margin and l_k = sum_{i<=k} 1/i. The loss is 0 if r
    is 0. r has no gradient.
    """
    r = (h > 0).sum(dim=1)
    harmonic = torch.cat(
        [
            h.new_zeros(1),
            (1 / torch.arange(1, h.shape[1] + 1, dtype=h.dtype, device=h.device)).cumsum(dim=0),
        ]
    )
    return harmonic[r] / r.clamp_min(1) * h.sum(dim=1)
