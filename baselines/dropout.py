"""A faster dropout for CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 1 << 16


class Dropout(nn.Dropout):
    """nn.Dropout with faster masks on a CPU: four elements share one 64-bit random number.

    p is rounded to a multiple of 1/65536, and kept elements are divided by 1 - p as rounded. On
    other devices, and compiled, it is nn.Dropout.
    """

    def forward(self, input: Tensor) -> Tensor:
        dropped = round(self.p * _STEPS)
        # torch's compiler has no form of the integer draws.
        unusual = self.inplace or dropped in (0, _STEPS) or torch.compiler.is_compiling()
        if input.device.type != "cpu" or not self.training or unusual:
            return super().forward(input)
        draws = (
            torch.empty((input.numel() + 3) // 4, dtype=torch.int64)
            .random_(-(1 << 63), None)
            .view(torch.int16)
        )
        kept = draws[: input.numel()].view(input.shape) >= dropped - _STEPS // 2
        return input * kept.to(input.dtype).mul_(_STEPS / (_STEPS - dropped))
