"""Shared by linear models: scaling of pooled features, class means, regularised systems."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.errors import TrainingError
from zslkit.model import ModelConfig, TrainingView


class PooledConfig(ModelConfig):
    """Scaling of pooled features."""

    centre: bool = Field(True, description="take the mean of the training features away first")
    normalise: Literal["none", "l2", "standard"] = Field(
        "l2",
        description=(
            "features as given, each divided by its L2 norm, or each channel divided by "
            "its standard deviation in training"
        ),
    )


class Scaling(nn.Module):
    """Scales features `(B, D)` with statistics of the training images only."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: PooledConfig, width: int) -> None:
        super().__init__()
        self.centre, self.normalise = config.centre, config.normalise
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def measure(self, view: TrainingView, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Compute the statistics of all training images.

        Args:
            view: Training images.
            name: Name of the model, for errors.
            device: Device of the result.

        Returns:
            Scaled features `(N, D)` and class ids `(N,)`.

        Raises:
            TrainingError: Features are not finite.
        """
        x, label = finite_features(view, name)
        # float64, since sums over tens of thousands of images lose digits in float32.
        wide = x.double()
        if self.centre:
            self.mean.copy_(wide.mean(dim=0))
        if self.normalise == "standard":
            deviation = wide.std(dim=0, correction=0)
            # A constant channel is not scaled.
            self.deviation.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))
        return self(x.to(device)), label.to(device)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.deviation
        return F.normalize(x, dim=1) if self.normalise == "l2" else x


def finite_features(view: TrainingView, name: str) -> tuple[Tensor, Tensor]:
    """All training images `(N, D)` and their class ids `(N,)`.

    Raises:
        TrainingError: Features are not finite; the message begins with `name`, the model.
    """
    x, label = view.everything()
    finite = torch.isfinite(x).all(dim=1)
    if not finite.all():
        raise TrainingError(
            f"{name}: {int((~finite).sum())} of {len(x)} training images have features that are "
            "not finite "
            f"(image {int((~finite).nonzero()[0])} of trainval is the first); mend or extract the "
            "features anew"
        )
    return x, label


def column_of(seen: Tensor) -> Tensor:
    """Class id -> index among the seen classes, `(C,)` int64; -1 for unseen classes."""
    return torch.where(seen, seen.long().cumsum(dim=0) - 1, -1)


def class_means(x: Tensor, column: Tensor, n_seen: int) -> Tensor:
    """Mean feature of each seen class, `(C_s, D)`.

    Args:
        x: `(N, D)`.
        column: `(N,)` index of each image's class among the seen classes.
        n_seen: Number of seen classes.
    """
    sums = x.new_zeros(n_seen, x.shape[1]).index_add_(0, column, x)
    return sums / torch.bincount(column, minlength=n_seen).to(x.dtype).unsqueeze(1)


def regularised(gram: Tensor, amount: float, name: str, key: str, of: str) -> Tensor:
    """Cholesky factor of gram + amount * I.

    Args:
        gram: `(n, n)` float64.
        amount: Regulariser.
        name: Name of the model, for errors.
        key: Name of the setting, for errors.
        of: What gram is computed from, for errors.

    Raises:
        TrainingError: The system is singular to the precision of float64.
    """
    system = gram + amount * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(system)
    # Missing rank leaves a pivot of rounding size, which the factorisation may accept.
    smallest = factor.diagonal().square().min()
    largest = system.diagonal().max()
    if int(failed) or not smallest > len(gram) * torch.finfo(gram.dtype).eps * largest:
        raise TrainingError(
            f"{name}: the system of the {of} is singular with {key} = {amount:g}; set {key} to a "
            "larger value, "
            f"for instance {key}=1, and check that the {of} are finite"
        )
    return factor
