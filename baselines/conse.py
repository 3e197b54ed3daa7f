"""CONSE: embeds an image as a mean of its likeliest seen classes (Norouzi et al., ICLR 2014)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from zslkit.model import Model, Task, Trainer, TrainingView

from .convex import minimise
from .pooled import PooledConfig, Scaling, column_of


class CONSEConfig(PooledConfig):
    """Settings of CONSE."""

    top: int = Field(
        10, ge=1, description="T, the number of most likely seen classes that are combined"
    )
    decay: float = Field(
        1e-4, ge=0, description="L2 penalty of the softmax regression, against its mean loss"
    )


class CONSE(Model):
    """Scores the cosine of f(x) and a_k with f(x) = 1/Z sum_{t<=T} p(y_t | x) a_{y_t}.

    y_1..y_T are the most likely seen classes by a softmax regression p over the seen classes, and Z
    is the sum of their probabilities.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = (
        "Norouzi et al. Zero-shot learning by convex combination of semantic embeddings. ICLR 2014"
    )
    presets = "presets/conse"
    search: ClassVar = {"decay": (1e-6, 1e-5, 1e-4, 1e-3)}
    mixes: ClassVar = {"top": (1, 2, 5, 10, 20, 50)}
    Config = CONSEConfig

    config: CONSEConfig
    W: Tensor
    b: Tensor

    def __init__(self, config: CONSEConfig, task: Task) -> None:
        super().__init__(config, task)
        n_seen = int(self.seen.sum())
        self.scaling = Scaling(config, task.feature_shape[0])
        self.register_buffer("W", torch.zeros(task.feature_shape[0], n_seen))
        self.register_buffer("b", torch.zeros(n_seen))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Train the softmax regression. Raises TrainingError if features or loss are not finite."""
        x, label = self.scaling.measure(view, "conse", trainer.device)
        column = column_of(self.seen)[label]
        W, b, left = minimise(
            x, len(self.b), self.config.decay, lambda z: F.cross_entropy(z, column), "conse"
        )
        self.W.copy_(W)
        self.b.copy_(b)
        trainer.log(decay=self.config.decay, gradient=left)

    def scores(self, x: Tensor) -> Tensor:
        z = torch.addmm(self.b, self.scaling(x), self.W)
        f = combination(z.softmax(dim=1), self.attributes[self.seen], self.config.top)
        return F.normalize(f, dim=1) @ F.normalize(self.attributes, dim=1).T


def combination(p: Tensor, attributes: Tensor, top: int) -> Tensor:
    """f = 1/Z sum of p_t a_t over the `top` most likely classes.

    Args:
        p: `(B, C_s)`.
        attributes: `(C_s, A)`.
        top: Number of classes.

    Returns:
        f `(B, A)`.
    """
    value, place = p.topk(min(top, p.shape[1]), dim=1)
    kept = torch.zeros_like(p).scatter(1, place, value)
    return kept / value.sum(dim=1, keepdim=True) @ attributes
