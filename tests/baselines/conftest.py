"""Feature maps that the tests of attention models share."""

from __future__ import annotations

import pytest
import torch
from attention_task import D, H, W
from torch import Tensor


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, D, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
