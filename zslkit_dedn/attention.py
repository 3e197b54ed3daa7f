"""The parameters of one Dual Attention Network (DAN) and the queries they make (DEDN.md, section DAN)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Queries(NamedTuple):
    """What a DAN asks of a feature map, one row an attribute: V W1, V W2 (A, D) and V W3, V W4 (A, R)."""

    region_score: Tensor
    region_attention: Tensor
    channel_score: Tensor
    channel_attention: Tensor


class DAN(nn.Module):
    """Word vectors V (A, W) of the attributes it looks for, W1, W2 (W, D), W3, W4 (W, R).

    W1 and W3 start from N(0, 1), W2 and W4 from 0, so that attention starts uniform. With `rank` h, W1 is the
    product of two factors (W, h) and (h, D), as the authors have it on SUN.
    """

    def __init__(self, words: Tensor, channels: int, regions: int, rank: int | None = None) -> None:
        super().__init__()
        width = words.shape[1]
        self.V = nn.Parameter(nn.functional.normalize(words, dim=1))
        if rank is None:
            self.W1 = nn.ParameterList([torch.randn(width, channels)])
        else:
            self.W1 = nn.ParameterList([torch.randn(width, rank), torch.randn(rank, channels)])
        self.W2 = nn.Parameter(torch.zeros(width, channels))
        self.W3 = nn.Parameter(torch.randn(width, regions))
        self.W4 = nn.Parameter(torch.zeros(width, regions))

    def queries(self) -> Queries:
        score = self.V
        for factor in self.W1:
            score = score @ factor
        return Queries(score, self.V @ self.W2, self.V @ self.W3, self.V @ self.W4)
