"""Dropout that costs a processor little."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 1 << 16


class Dropout(nn.Dropout):
    """nn.Dropout whose masks cost a tenth on a processor: four elements share one 64-bit draw, where PyTorch draws twice for each.

    p is taken to the nearest 65536th, and what stays is divided by 1 - p as taken. Elsewhere than on a processor it is nn.Dropout.
    """

    def forward(self, input: Tensor) -> Tensor:
        taken = round(self.p * _STEPS)
        if input.device.type != "cpu" or not self.training or self.inplace or taken in (0, _STEPS):
            return super().forward(input)
        draws = (
            torch.empty((input.numel() + 3) // 4, dtype=torch.int64)
            .random_(-(1 << 63), None)
            .view(torch.int16)
        )
        stays = draws[: input.numel()].view(input.shape) >= taken - _STEPS // 2
        return input * stays.to(input.dtype).mul_(_STEPS / (_STEPS - taken))
