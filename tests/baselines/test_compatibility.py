from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_toys import noise
from zslkit_baselines.compatibility import hinges, largest_hinge, rank_weighted, sum_of_hinges


def by_loop(F: list[float], true: int, margin: float, how: str) -> float:
    """One image's loss from its compatibilities, as the papers write it."""
    h = [max(0.0, margin + F[y] - F[true]) for y in range(len(F)) if y != true]
    if how == "sum":
        return sum(h)
    if how == "largest":
        return max(h, default=0.0)
    r = sum(1 for value in h if value > 0)
    return sum(1 / i for i in range(1, r + 1)) / r * sum(h) if r else 0.0


LOSSES = {"sum": sum_of_hinges, "largest": largest_hinge, "rank": rank_weighted}


def test_hinges_by_hand() -> None:
    # The true class leads by 0.5 and by 2 where the margin is 1.
    assert hinges(torch.tensor([[2.0, 1.5, 0.0]]), torch.tensor([0]), 1.0).tolist() == [
        [0.0, 0.5, 0.0]
    ]


def test_the_three_losses_by_hand() -> None:
    h = torch.tensor([[0.0, 0.5, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert sum_of_hinges(h).tolist() == [0.75, 0.0]
    assert largest_hinge(h).tolist() == [0.5, 0.0]
    # Two violators: l_2 / 2 = (1 + 1/2) / 2 = 0.75.
    assert rank_weighted(h).tolist() == [0.5625, 0.0]


@pytest.mark.parametrize("how", LOSSES)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 5),
    n_seen=st.integers(1, 7),
    margin=st.sampled_from([0.1, 1.0, 3.0]),
)
def test_losses_are_those_of_a_plain_loop(
    how: str, seed: int, batch: int, n_seen: int, margin: float
) -> None:
    F = noise(seed, batch, n_seen).double()
    true = torch.arange(batch) % n_seen
    expected = [
        by_loop(row, k, margin, how) for row, k in zip(F.tolist(), true.tolist(), strict=True)
    ]
    assert LOSSES[how](hinges(F, true, margin)).tolist() == pytest.approx(expected)


def test_the_rank_is_a_weight_and_gets_no_gradient() -> None:
    F = torch.tensor([[0.0, 0.5, 0.25]], requires_grad=True)
    rank_weighted(hinges(F, torch.tensor([0]), 1.0)).sum().backward()
    assert F.grad is not None and F.grad.tolist() == [[-1.5, 0.75, 0.75]]
