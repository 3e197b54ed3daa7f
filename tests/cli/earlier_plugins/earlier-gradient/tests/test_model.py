"""EarlierGradient keeps the contract, and its attention is a distribution over regions."""

import torch
from zslkit.testing import parametrize_with_checks, tiny_task

from earlier_gradient.model import EarlierGradient, EarlierGradientConfig


@parametrize_with_checks([EarlierGradient])
def test_contract(check):
    check()


def test_attention_is_uniform_at_the_start_and_sums_to_one():
    model = EarlierGradient(EarlierGradientConfig(), tiny_task("map"))
    maps = model.attention(torch.rand(2, 16, 3, 4))["regions"].maps
    assert maps.shape == (2, 12, 3, 4)
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / 12))
