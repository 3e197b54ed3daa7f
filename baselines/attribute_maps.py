"""Losses on attribute prototypes and on the maps they make, which APN and GEM-ZSL share."""

from __future__ import annotations

import torch
from torch import Tensor


def decorrelation(P: Tensor, groups: list[tuple[int, ...]], per_channel: bool = True) -> Tensor:
    """Sum over groups l and channels d of the L2 norm of the entries P[l, d] (section 3.2, attribute decorrelation).

    P (A, D). It lets the attributes of one group share channels and makes groups compete for them. Not per channel:
    sum over groups of one norm, as the authors' program has it. 1e-8 inside the root keeps the gradient finite at 0.
    """
    squares = torch.stack([P[list(group)].square().sum(dim=0) for group in groups])  # (L, D)
    return ((squares if per_channel else squares.sum(dim=1)) + 1e-8).sqrt().sum()


def compactness(weight: Tensor, peak: Tensor, size: tuple[int, int]) -> Tensor:
    """Sum over images, attributes and positions of weight * squared distance to the peak, in map cells.

    weight (B, A, R); peak (B, A) the position, row by row, of the largest similarity; size (H, W), R = H * W.
    """
    height, width = size
    position = torch.arange(height * width, device=weight.device)
    row, column = position // width, position % width
    distance = (row[:, None] - row).square() + (column[:, None] - column).square()  # (R, R)
    return (weight * distance.to(weight.dtype)[peak]).sum()
