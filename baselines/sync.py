"""SYNC: classifiers of unseen classes are put together from those of phantom classes (Changpinyo et al., CVPR 2016)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from baselines.convex import minimise
from baselines.pooled import PooledConfig, Scaling, column_of, regularised
from zslkit.errors import TrainingError
from zslkit.model import Model, Task, Trainer, TrainingView


class SYNCConfig(PooledConfig):
    """Settings of SYNC."""

    sigma: float = Field(1.0, gt=0, description="width of the kernel between classes, in mean distances between seen classes' attributes")
    decay: float = Field(1e-3, ge=0, description="L2 penalty of the seen classes' classifiers, against their mean loss")
    base: Literal["squared_hinge", "squared"] = Field(
        "squared_hinge",
        description="one-versus-other loss of the seen classes: squared hinge as in the paper, or least squares in closed form",
    )


class SYNC(Model):
    """Scores w_k^T x with w_k = sum_r s_kr v_r, a convex combination of phantom classifiers v_r.

        s_kr = exp(-d_kr) / sum_r' exp(-d_kr'),   d_kr = ||a_k - b_r||^2 / sigma^2

    The phantoms stand at the seen classes, b_r = a_r, which is one of the paper's choices. The v_r minimise the mean over images
    of sum_c max(0, 1 - y_nc w_c^T x_n)^2 / 2 over the seen classes c, y in +-1, plus decay / 2 * sum_c ||w_c||^2. With as many
    phantoms as seen classes every set of seen w_c can be put together, so these, W (C_s, D + 1), are found first; S_s V = W then
    gives V, and w_k = s_k S_s^-1 W, with S_s (C_s, C_s) the rows of the seen classes. x ends in a constant 1.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = "Changpinyo, Chao, Gong and Sha. Synthesized classifiers for zero-shot learning. CVPR 2016"
    presets = "presets/sync"
    search: ClassVar = {"base": ("squared_hinge", "squared"), "decay": (1e-4, 3e-4, 1e-3, 3e-3)}
    mixes: ClassVar = {"sigma": (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)}
    Config = SYNCConfig

    config: SYNCConfig
    W: Tensor

    def __init__(self, config: SYNCConfig, task: Task) -> None:
        super().__init__(config, task)
        self.scaling = Scaling(config, task.feature_shape[0])
        self.register_buffer("W", torch.zeros(int(self.seen.sum()), task.feature_shape[0] + 1))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Train the seen classes' classifiers. Raises TrainingError if the features are not finite or their system is singular."""
        x, label = self.scaling.measure(view, "sync", trainer.device)
        x, column = with_one(x), column_of(self.seen)[label]
        left = 0.0
        if self.config.base == "squared":
            W = least_squares(x.double(), column, len(self.W), self.config.decay)
        else:
            W, left = squared_hinge(x, column, len(self.W), self.config.decay)
        self.W.copy_(W)
        trainer.log(decay=self.config.decay, norm=float(W.norm()), gradient=left)

    def scores(self, x: Tensor) -> Tensor:
        z = with_one(self.scaling(x)) @ self.W.T
        # float64, since the phantoms of a wide kernel are large and cancel.
        return (z.double() @ combination(self.attributes, self.attributes[self.seen], self.config.sigma).T).to(z.dtype)


def similarity(a: Tensor, b: Tensor, sigma: float) -> Tensor:
    """S (K, R) float64 with rows that sum to 1: softmax over phantoms of -||a_k - b_r||^2 / (sigma * d)^2.

    a (K, A) attributes of classes; b (R, A) of phantoms; d is the mean distance between two different phantoms, so that sigma
    means the same for every table of attributes.
    """
    a, b = a.double(), b.double()
    between = F.pdist(b)
    d = between.mean() if len(between) else b.new_ones(())
    return (-torch.cdist(a, b).square() / (sigma * d) ** 2).softmax(dim=1)


def with_one(x: Tensor) -> Tensor:
    """x (N, D) with a constant feature, (N, D + 1): the place of each classifier's offset."""
    return F.pad(x, (0, 1), value=1.0)


def signs(column: Tensor, n_seen: int) -> Tensor:
    """y (N, C_s) in +-1: +1 at each image's class. column (N,)."""
    return 2 * F.one_hot(column, n_seen) - 1


def least_squares(x: Tensor, column: Tensor, n_seen: int, decay: float) -> Tensor:
    """W (C_s, D) of min 1/(2N) sum (x_n w_c - y_nc)^2 + decay/2 ||W||^2: (X^T X + N decay I) W^T = X^T Y.

    x (N, D) float64. Raises TrainingError that names decay if the system is singular.
    """
    factor = regularised(x.T @ x / len(x), decay, "sync", "decay", "features")
    return torch.cholesky_solve(x.T @ signs(column, n_seen).to(x.dtype) / len(x), factor).T


def squared_hinge(x: Tensor, column: Tensor, n_seen: int, decay: float) -> tuple[Tensor, float]:
    """W (C_s, D) of min 1/(2N) sum max(0, 1 - y_nc x_n w_c)^2 + decay/2 ||W||^2, and what is left of the gradient. x (N, D)."""
    y = signs(column, n_seen)
    W, _, left = minimise(x, n_seen, decay, lambda z: (1 - y * z).clamp_min(0).square().sum() / (2 * len(z)), "sync", offset=False)
    return W.T, left


def combination(attributes: Tensor, phantoms: Tensor, sigma: float) -> Tensor:
    """S S_s^-1 (C, C_s) float64: what each seen classifier gives to each class's. Unit rows for the seen classes themselves.

    attributes (C, A) of all classes; phantoms (C_s, A) of the seen ones. Raises TrainingError that names sigma if S_s is singular.
    """
    S, known = similarity(attributes, phantoms, sigma), similarity(phantoms, phantoms, sigma)
    values = torch.linalg.svdvals(known)
    if not values[-1] > len(known) * torch.finfo(known.dtype).eps * values[0]:
        raise TrainingError(
            f"sync: the similarities of the seen classes are singular with sigma = {sigma:g}; set sigma to a smaller value, and check "
            "that no two seen classes share their attributes"
        )
    solution: Tensor = torch.linalg.solve(known, S, left=False)
    return solution
