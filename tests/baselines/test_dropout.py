from __future__ import annotations

import pytest
import torch
from zslkit_baselines.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.4, 0.5, 0.9])
def test_an_element_is_dropped_with_probability_p_or_divided_by_what_stays(
    p: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    shape = (7, 31, 461)  # no multiple of four elements
    x = torch.full(shape, 3.0, dtype=dtype)
    y = Dropout(p)(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    kept = y[y != 0].double()
    assert torch.allclose(
        kept, torch.full_like(kept, 3 / (1 - p)), rtol=1e-2 if dtype == torch.bfloat16 else 1e-4
    )
    assert (y == 0).double().mean().item() == pytest.approx(
        p, abs=6 * (p * (1 - p) / x.numel()) ** 0.5
    )


def test_neighbours_that_share_a_draw_fall_apart_from_each_other() -> None:
    torch.manual_seed(1)
    stays = (Dropout(0.5)(torch.ones(40_000, 4)) > 0).double()
    assert torch.allclose(torch.corrcoef(stays.T), torch.eye(4, dtype=torch.float64), atol=0.03)


def test_the_gradient_passes_where_the_element_stayed() -> None:
    torch.manual_seed(2)
    x = torch.randn(50, 33, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (y / x).detach())


def test_the_same_seed_drops_the_same() -> None:
    x = torch.ones(9, 11)
    torch.manual_seed(3)
    first, second = Dropout(0.3)(x), Dropout(0.3)(x)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.3)(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("p", "left"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_ends_drop_nothing_or_all(p: float, left: float) -> None:
    assert torch.equal(Dropout(p)(torch.ones(5)), torch.full((5,), left))


def test_nothing_is_dropped_outside_training() -> None:
    x = torch.randn(4, 5)
    assert torch.equal(Dropout(0.9).eval()(x), x)
