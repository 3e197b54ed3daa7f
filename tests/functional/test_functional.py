"""Shared equations: the fast channel attention against its formula, and the losses by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zslkit import functional
from zslkit.functional import (
    channel_attention,
    channel_attention_plain,
    distillation_distance,
    region_answers,
    region_attention,
    seen_bias,
    self_calibration,
)


def problem(
    batch: int, channels: int, regions: int, count: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    F = torch.randn(batch, channels, regions, generator=g, dtype=torch.float64)
    q, k = (
        torch.randn(count, regions, generator=g, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    return F, q, k


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), st.integers(1, 70), st.integers(0, 999)
)
def test_fast_channel_attention_equals_the_formula(
    batch: int, channels: int, regions: int, count: int, seed: int
) -> None:
    F, q, k = problem(batch, channels, regions, count, seed)
    weight = torch.randn(batch, count, dtype=torch.float64)
    fast, plain = channel_attention(F, q, k), channel_attention_plain(F, q, k)[0]
    torch.testing.assert_close(fast, plain)
    for ours, theirs in zip(
        torch.autograd.grad((fast * weight).sum(), (q, k)),
        torch.autograd.grad((plain * weight).sum(), (q, k)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_gradcheck_of_the_fast_form() -> None:
    F, q, k = problem(2, 5, 3, 4)
    assert torch.autograd.gradcheck(lambda a, b: channel_attention(F, a, b), (q, k))


def test_a_trained_backbone_gets_its_gradient() -> None:
    F, q, k = problem(2, 5, 3, 4)
    F.requires_grad_()
    assert torch.autograd.gradcheck(channel_attention, (F, q, k))
    assert torch.autograd.gradcheck(lambda F, q, k: region_attention(F.mT, q, k), (F, q, k))


def test_region_attention_by_a_loop() -> None:
    F, _, _ = problem(2, 5, 3, 1)
    q, k = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    scores, attention = region_attention(F, q, k)
    for b in range(2):
        for a in range(4):
            weight = torch.softmax(k[a] @ F[b], dim=0)
            torch.testing.assert_close(attention[b, a], weight)
            torch.testing.assert_close(scores[b, a], (weight * (q[a] @ F[b])).sum())


@pytest.mark.parametrize(("gains", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_attention_in_bfloat16_only_where_that_gains(
    gains: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functional.attention, "CPU_GAINS", gains)
    F, q, k = (t.float() for t in problem(2, 5, 3, 4))
    exact = channel_attention(F, q, k)
    with torch.autocast("cpu", torch.bfloat16):
        assert region_answers(F, torch.ones(4, 5))[0].dtype == dtype
        assert torch.equal(channel_attention(F, q, k), exact) is not gains


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), st.integers(1, 7), st.integers(0, 999)
)
def test_region_attention_is_the_same_whether_the_backbone_is_trained(
    batch: int, channels: int, regions: int, count: int, seed: int
) -> None:
    F, q, k = problem(batch, regions, channels, count, seed)
    F = F.mT
    found = []
    for frozen in (F, F.clone().requires_grad_()):
        s, p = region_attention(frozen, q, k)
        found.append(
            [
                s,
                p,
                *torch.autograd.grad(
                    (s.sin().sum() + (p * torch.arange(float(regions))).square().sum()), (q, k)
                ),
            ]
        )
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("which", ["scores", "attention", "both"])
def test_gradcheck_of_region_attention(which: str) -> None:
    F, q, k = problem(2, 3, 5, 4)  # read as five channels of three regions
    part = {"scores": slice(0, 1), "attention": slice(1, 2), "both": slice(0, 2)}[which]
    assert torch.autograd.gradcheck(lambda a, b: region_attention(F.mT, a, b)[part], (q, k))


@pytest.mark.parametrize(
    "attend", [channel_attention, lambda F, q, k: region_attention(F.mT, q, k)[0]]
)
def test_a_second_derivative_is_refused_instead_of_wrong(
    attend: Callable[..., torch.Tensor],
) -> None:
    F, q, k = problem(2, 5, 3, 4)
    (first,) = torch.autograd.grad(attend(F, q, k).square().sum(), k, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_channel_attention_of_large_logits_is_that_of_a_softmax() -> None:
    F, q, k = problem(2, 6, 3, 4)
    torch.testing.assert_close(
        channel_attention(F, q, 1e4 * k), channel_attention_plain(F, q, 1e4 * k)[0]
    )


def test_uniform_attention_is_the_mean() -> None:
    F, q, _ = problem(2, 5, 3, 4)
    torch.testing.assert_close(
        channel_attention(F, q, torch.zeros_like(q)), torch.einsum("ar,bcr->ba", q, F) / 5
    )


def test_self_calibration_of_equal_scores_counts_the_unseen_classes() -> None:
    seen = torch.tensor([True, True, True, False])
    assert float(self_calibration(torch.zeros(3, 4), seen)) == pytest.approx(math.log(4))
    assert float(self_calibration(torch.zeros(3, 4), torch.ones(4, dtype=torch.bool))) == 0.0


def test_distance_by_hand() -> None:
    x, y = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    p, q = x.softmax(1)[0], y.softmax(1)[0]
    m = (p + q) / 2
    divergence = 0.5 * float((p * (p / m).log()).sum() + (q * (q / m).log()).sum())
    assert float(distillation_distance(x, y)) == pytest.approx((27 + 64) / 5 + divergence, rel=1e-5)


def test_distance_of_equal_tables_is_zero_and_has_a_gradient() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    distance = distillation_distance(x, x.detach().clone())
    distance.backward()  # type: ignore[no-untyped-call]
    assert float(distance.detach()) == pytest.approx(0.0, abs=1e-6)
    assert x.grad is not None and bool(torch.isfinite(x.grad).all())


def test_bias_speaks_for_unseen_classes() -> None:
    assert seen_bias(torch.tensor([True, False]), 1.0).tolist() == [-1.0, 1.0]
