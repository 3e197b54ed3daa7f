"""Parameters and queries of one Dual Attention Network (DEDN.md, section DAN)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Branch = Literal["region", "channel"]


class Queries(NamedTuple):
    """Queries of one branch, one row per attribute.

    Attributes:
        score: V W1 `(A, D)` or V W3 `(A, R)`.
        attention: V W2 `(A, D)` or V W4 `(A, R)`.
    """

    score: Tensor
    attention: Tensor


class DAN(nn.Module):
    """Word vectors V (A, W) of attributes; W1, W2 (W, D) for regions, W3, W4 (W, R) for channels.

    W1 and W3 are initialised from N(0, 1), W2 and W4 with 0, so that attention starts uniform.

    Args:
        words: `(A, W)` word vectors.
        channels: D.
        regions: R.
        rank: W1 as a product of two factors (W, rank) and (rank, D), as the authors use on SUN.
        branches: Branches to build; others have no parameters.
    """

    def __init__(
        self,
        words: Tensor,
        channels: int,
        regions: int,
        rank: int | None = None,
        branches: tuple[Branch, ...] = ("region", "channel"),
    ) -> None:
        super().__init__()
        width = words.shape[1]
        self.V = nn.Parameter(nn.functional.normalize(words, dim=1))
        if "region" in branches:
            shapes = [(width, channels)] if rank is None else [(width, rank), (rank, channels)]
            self.W1 = nn.ParameterList([torch.randn(shape) for shape in shapes])
            self.W2 = nn.Parameter(torch.zeros(width, channels))
        if "channel" in branches:
            self.W3 = nn.Parameter(torch.randn(width, regions))
            self.W4 = nn.Parameter(torch.zeros(width, regions))

    def queries(self, branch: Branch) -> Queries:
        """Queries of one branch."""
        if branch == "channel":
            return Queries(self.V @ self.W3, self.V @ self.W4)
        score = self.V
        for factor in self.W1:
            score = score @ factor
        return Queries(score, self.V @ self.W2)
