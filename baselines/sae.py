"""SAE: a linear autoencoder whose code is the class attributes (Kodirov et al., CVPR 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from zslkit.errors import TrainingError
from zslkit.model import Model, Task, Trainer, TrainingView

from .pooled import PooledConfig, Scaling, column_of, regularised

SHIFT = 1e-10
"""Added to the entries of W before normalising its rows, as in the public port."""

Recipe = Literal["port", "awa_demo", "cub_demo"]


class SAEConfig(PooledConfig):
    """Settings of SAE.

    Three programs are public, with different scaling. `port` (with centre=false, normalise=l2) is
    the public port for ResNet features; `awa_demo` and `cub_demo` are the authors' demos for
    GoogLeNet features, and ignore centre and normalise.
    """

    recipe: Recipe = Field(
        "port",
        description="what is scaled: port: features by centre and normalise, rows of W to unit "
        "length; awa_demo: each channel of the "
        "training features and each attribute of the classes to norm 1, rows of W to unit length; "
        "cub_demo: features replaced by "
        "their ridge regression on the seen classes, attributes to unit length, W as it is",
    )
    ridge: float = Field(50.0, gt=0, description="regulariser of that regression; cub_demo alone")
    lam: float = Field(0.1, gt=0, description="weight l of the encoder against the decoder")
    gamma: float = Field(
        1e-6,
        ge=0,
        description=(
            "added to every eigenvalue of l X X^T, for data with fewer images than "
            "channels; 0 in the paper"
        ),
    )
    direction: Literal["to_semantics", "to_features"] = Field(
        "to_semantics",
        description=(
            "compare in the space of the attributes, W x with a_k, or in that of the "
            "features, x with W^T a_k"
        ),
    )


class SAE(Model):
    """Minimises ||X - W^T S||^2 + l ||W X - S||^2 over W (A, D).

    The solution satisfies S S^T W + W (l X X^T) = (1 + l) S X^T. X (D, N) are the training features
    and S (A, N) the attributes of each image's class, as columns. The score of a class is the
    cosine of W x and a_k, or of x and W^T a_k.

    The authors' CUB demo standardises these cosines over the test images, so that the answer for
    one image depends on others. That is transductive, and left out here.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = "Kodirov, Xiang and Gong. Semantic autoencoder for zero-shot learning. CVPR 2017"
    presets = "presets/sae"
    search: ClassVar = {
        "direction": ("to_features", "to_semantics"),
        "lam": (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 1e1),
    }
    Config = SAEConfig

    config: SAEConfig
    W: Tensor
    P: Tensor

    def __init__(self, config: SAEConfig, task: Task) -> None:
        super().__init__(config, task)
        depth, demo = task.feature_shape[0], config.recipe != "port"
        plain = config.model_copy(update={"centre": False, "normalise": "none"})
        self.scaling = Scaling(plain if demo else config, depth)
        seen = int(self.seen.sum())
        # Other recipes have no regression, so P is empty there.
        self.register_buffer("P", torch.zeros(depth if config.recipe == "cub_demo" else 0, seen))
        self.register_buffer(
            "W", torch.zeros(task.n_attributes, seen if config.recipe == "cub_demo" else depth)
        )

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Solve for W in float64.

        Raises:
            TrainingError: The equation has no unique solution.
        """
        x, label = self.scaling.measure(view, "sae", trainer.device)
        x, s = x.double(), self.attributes[label].double()
        if self.config.recipe == "awa_demo":
            x = F.normalize(x, dim=0)  # only in training, as in the demo
        elif self.config.recipe == "cub_demo":
            factor = regularised(x.T @ x, self.config.ridge, "sae", "ridge", "features")
            onehot = F.one_hot(column_of(self.seen)[label], int(self.seen.sum())).to(x.dtype)
            P = torch.cholesky_solve(x.T @ onehot, factor)
            self.P.copy_(P)
            x, s = x @ P, F.normalize(s, dim=1)
        W = solve(s.T @ s, x.T @ x, s.T @ x, self.config.lam, self.config.gamma)
        trainer.log(lam=self.config.lam, norm=float(W.norm()))
        self.W.copy_(W if self.config.recipe == "cub_demo" else F.normalize(W + SHIFT, dim=1))

    def scores(self, x: Tensor) -> Tensor:
        x, classes = self._features(x), self.attributes
        demo = self.config.recipe == "awa_demo"
        if demo:
            classes = F.normalize(classes, dim=0)
        if self.config.direction == "to_semantics":
            return F.normalize(x @ self.W.T, dim=1) @ F.normalize(classes, dim=1).T
        classes = classes @ self.W
        return (
            F.normalize(x, dim=1)
            @ F.normalize(F.normalize(classes, dim=0) if demo else classes, dim=1).T
        )

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """Code W x `(B, A)`, for either direction."""
        return self._features(x) @ self.W.T

    def _features(self, x: Tensor) -> Tensor:
        x = self.scaling(x)
        return x @ self.P if self.config.recipe == "cub_demo" else x


def solve(SS: Tensor, XX: Tensor, SX: Tensor, lam: float, gamma: float = 0.0) -> Tensor:
    """W `(A, D)` of SS W + W (lam XX + gamma I) = (1 + lam) SX.

    Solved by eigenvectors, since SS and XX are symmetric: at D = 2048 this takes seconds, and the
    Schur forms of the general method minutes.

    Args:
        SS: `(A, A)` symmetric, float64.
        XX: `(D, D)` symmetric, float64.
        SX: `(A, D)` float64.
        lam: Weight of the encoder.
        gamma: Added to the eigenvalues of lam XX.

    Raises:
        TrainingError: W is not unique, because two eigenvalues add up to zero; names gamma.
    """
    p, U = torch.linalg.eigh(SS)
    q, V = torch.linalg.eigh(lam * XX)
    sums = p.unsqueeze(1) + (q + gamma)
    if not sums.min() > max(SX.shape) * torch.finfo(SX.dtype).eps * sums.max():
        raise TrainingError(
            f"sae: the Sylvester equation is singular with gamma = {gamma:g}, since neither the "
            "attributes of the seen classes nor "
            "the features have full rank; set gamma to a larger value, for instance gamma=1"
        )
    W: Tensor = U @ ((1 + lam) * (U.T @ SX @ V) / sums) @ V.T
    return W
