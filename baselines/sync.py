"""SYNC: classifiers of unseen classes are put together from those of phantom classes (Changpinyo et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from baselines.convex import minimise
from baselines.pooled import PooledConfig, Scaling, column_of, regularised
from zslkit.model import Model, Task, Trainer, TrainingView

Base = Literal["squared_hinge", "crammer_singer", "struct", "squared"]


class SYNCConfig(PooledConfig):
    """Settings of SYNC; with centre=false and normalise=l2 they are those of the authors' program."""

    centre: bool = Field(False, description="take the mean of the training features away first; ours")
    offset: bool = Field(False, description="give each classifier an offset; ours")
    sim_scale: float = Field(1.0, gt=0, description="sharpness of the kernel between classes; 2^-5..2^5 in the authors' program")
    decay: float = Field(2.0**-16, ge=0, description="L2 penalty lambda of the seen classes' classifiers; 2^-30..2^-8 there")
    base: Base = Field(
        "squared_hinge",
        description="loss of the seen classes: squared_hinge: one against the others; crammer_singer: by the highest wrong score; "
        "struct: that, with the distance of the two classes' attributes as margin; squared: least squares in closed form, ours",
    )


class SYNC(Model):
    """Scores w_k^T x with w_k = sum_r s_kr v_r, a combination of phantom classifiers v_r.

        s_kr = exp(-sim_scale ||p_k - p_r||^2) / sum over r' of the same

    p_k is a_k of unit length, divided by the median distance of two classes. The phantoms stand at the seen classes, which is one
    of the paper's choices. With as many phantoms as seen classes every set of seen w_c can be put together, so these, W (C_s, D),
    are found first; w_k = s_k S_s^+ W, with S_s (C_s, C_s) the rows of the seen classes and + the pseudoinverse.

    W minimises, with N images and y in +-1, decay / 2 * sum_c ||w_c||^2 and

        squared_hinge    sum over n and c of max(0, 1 - y_nc w_c^T x_n)^2 / (N C_s)
        crammer_singer   sum over n of max over c of (w_c^T x_n + [c != y_n] - w_yn^T x_n) / N
        struct           the same with ||p_c - p_yn|| for [c != y_n]
        squared          sum over n and c of (w_c^T x_n - y_nc)^2 / (N C_s)
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = "Changpinyo, Chao, Gong and Sha. Synthesized classifiers for zero-shot learning. CVPR 2016"
    presets = "presets/sync"
    search: ClassVar = {"base": ("squared_hinge", "squared"), "decay": (2.0**-22, 2.0**-20, 2.0**-18, 2.0**-16, 2.0**-14)}
    mixes: ClassVar = {"sim_scale": (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)}
    Config = SYNCConfig

    config: SYNCConfig
    W: Tensor

    def __init__(self, config: SYNCConfig, task: Task) -> None:
        super().__init__(config, task)
        self.scaling = Scaling(config, task.feature_shape[0])
        self.register_buffer("W", torch.zeros(int(self.seen.sum()), task.feature_shape[0] + config.offset))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Train the seen classes' classifiers. Raises TrainingError if the features are not finite or their system is singular."""
        x, label = self.scaling.measure(view, "sync", trainer.device)
        x, column, n_seen = self._with_offset(x), column_of(self.seen)[label], len(self.W)
        decay, left = self.config.decay, 0.0
        if self.config.base == "squared":
            W = least_squares(x.double(), column, n_seen, decay)
        else:
            p = signatures(self.attributes)[self.seen]
            loss = {"squared_hinge": squared_hinge, "crammer_singer": crammer_singer, "struct": struct(p)}[self.config.base]
            W, _, left = minimise(x.double(), n_seen, decay, lambda z: loss(z, column), "sync", offset=False)
            W = W.T
        self.W.copy_(W)
        trainer.log(decay=decay, norm=float(W.norm()), gradient=left)

    def scores(self, x: Tensor) -> Tensor:
        z = self._with_offset(self.scaling(x)) @ self.W.T
        # float64, since the phantoms of a wide kernel are large and cancel.
        return (z.double() @ combination(self.attributes, self.seen, self.config.sim_scale).T).to(z.dtype)

    def _with_offset(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1), value=1.0) if self.config.offset else x


def signatures(attributes: Tensor) -> Tensor:
    """p (C, A) float64: attributes of unit length, divided by the median of the distances between two different ones."""
    p = F.normalize(attributes.double(), dim=1)
    apart = F.pdist(p)
    apart = apart[apart > 0]
    return p / apart.quantile(0.5) if len(apart) else p


def similarity(p: Tensor, phantoms: Tensor, sim_scale: float) -> Tensor:
    """S (K, R): softmax over phantoms of -sim_scale ||p_k - b_r||^2. p (K, A) signatures of classes; phantoms (R, A)."""
    apart = (p[:, None] - phantoms).square().sum(dim=2) if p.numel() * len(phantoms) < 1 << 24 else torch.cdist(p, phantoms).square()
    return (-sim_scale * apart).softmax(dim=1)


def combination(attributes: Tensor, seen: Tensor, sim_scale: float) -> Tensor:
    """S S_s^+ (C, C_s) float64: what each seen classifier gives to each class's. Unit rows for the seen classes themselves.

    attributes (C, A) of all classes; seen (C,) bool. Seen classes that share their attributes share what they give.
    """
    p = signatures(attributes)
    S = similarity(p, p[seen], sim_scale)
    shares: Tensor = S @ torch.linalg.pinv(S[seen])
    return shares


def signs(column: Tensor, n_seen: int) -> Tensor:
    """y (N, C_s) in +-1: +1 at each image's class. column (N,)."""
    return 2 * F.one_hot(column, n_seen) - 1


def squared_hinge(z: Tensor, column: Tensor) -> Tensor:
    """One against the others: mean of max(0, 1 - y z)^2. z (N, C_s) outputs; column (N,) each image's class."""
    return (1 - signs(column, z.shape[1]) * z).clamp_min(0).square().mean()


def crammer_singer(z: Tensor, column: Tensor) -> Tensor:
    """Mean over images of what the highest wrong output, raised by 1, has over that of the true class. z (N, C_s)."""
    return _violation(z, column, 1.0 - F.one_hot(column, z.shape[1]))


def struct(p: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """crammer_singer with the distances of the seen classes' signatures p (C_s, A) as margins."""
    apart = torch.cdist(p, p, compute_mode="donot_use_mm_for_euclid_dist")
    return lambda z, column: _violation(z, column, apart[column].to(z.dtype))


def _violation(z: Tensor, column: Tensor, margin: Tensor) -> Tensor:
    true = z.gather(1, column[:, None])
    return (z + margin - true).max(dim=1).values.clamp_min(0).mean()


def least_squares(x: Tensor, column: Tensor, n_seen: int, decay: float) -> Tensor:
    """W (C_s, D) of min sum (x_n w_c - y_nc)^2 / (N C_s) + decay/2 ||W||^2: (X^T X / N + C_s decay / 2 I) W^T = X^T Y / N.

    x (N, D) float64. Raises TrainingError that names decay if the system is singular.
    """
    factor = regularised(x.T @ x / len(x), n_seen * decay / 2, "sync", "decay", "features")
    return torch.cholesky_solve(x.T @ signs(column, n_seen).to(x.dtype) / len(x), factor).T
