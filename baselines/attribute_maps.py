"""Losses on attribute prototypes and attention maps, shared by APN and GEM-ZSL."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def decorrelation(
    P: Tensor,
    groups: Sequence[Sequence[int] | Tensor],
    per_channel: bool = True,
    epsilon: float = 0.0,
) -> Tensor:
    """Sum over groups l and channels d of the L2 norm of P[l, d] (Xu et al. 2020, section 3.2).

    Attributes of one group share channels, and groups compete for them.

    Args:
        P: Prototypes or queries `(A, D)`.
        groups: Attribute ids of each group, best as tensors on the device of P, since others are
            copied there; a repeated group counts repeatedly.
        per_channel: False for one norm per group, over its attributes and channels.
        epsilon: Added to the square of each channel.

    Returns:
        Scalar.
    """
    rows = [P.index_select(0, torch.as_tensor(group, device=P.device)) for group in groups]
    squares = torch.stack([row.square().sum(dim=0) for row in rows]) + epsilon  # (L, D)
    squares = squares if per_channel else squares.sum(dim=1)
    # The root has no finite gradient at 0; use 0 there.
    return torch.where(squares > 0, squares, 1.0).sqrt().mul(squares > 0).sum()


def joined(groups: Sequence[tuple[int, ...]]) -> tuple[Tensor, list[int]]:
    """Attribute ids of all groups in one tensor, and the size of each group, to split it."""
    return torch.tensor([i for group in groups for i in group]), [len(group) for group in groups]


def compactness(weight: Tensor, peak: Tensor, size: tuple[int, int]) -> Tensor:
    """Sum over images, attributes and positions of weight * squared distance to the peak.

    Args:
        weight: `(B, A, R)` with R = H * W.
        peak: `(B, A)` position of the largest similarity, row by row.
        size: (H, W); distances are in cells.

    Returns:
        Scalar.
    """
    height, width = size
    position = torch.arange(height * width, device=weight.device)
    row, column = position // width, position % width
    distance = (row[:, None] - row).square() + (column[:, None] - column).square()  # (R, R)
    return (weight * distance.to(weight.dtype)[peak]).sum()
