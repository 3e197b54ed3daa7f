"""Fast operators behind `zslkit.functional`: attention with gradients of its queries only.

F is a feature map with regions as columns, `(B, D, R)`, and needs no gradient; queries have one row
per attribute. Large products are computed in pieces that fit into the cache of a CPU core. The
operators are registered with torch (`torch.ops.zslkit`), so that a compiled loss is one graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Bytes of attention computed at once: large enough for fast products, small enough for the cache.
_CPU_BYTES = 2_560_000
_GPU_BYTES = 400_000_000


def region_attention_of(
    F: Tensor, score_query: Tensor, attention_query: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores s `(B, A)` and attention p `(B, A, R)` over regions, for queries `(A, D)`.

    For CPUs, in float32. F is used without a transposed copy, and the gradient of the queries is
    summed image by image without a (B, A, D) tensor. Kept for backward: p and the region scores S,
    `(B, A, R)` each. Source: region branch of DAN in DEDN (Rao et al. 2024).
    """
    s, p, _ = torch.ops.zslkit.region_attention(F, score_query, attention_query)
    return s, p


def channel_attention_of(F: Tensor, score_query: Tensor, attention_query: Tensor) -> Tensor:
    """Scores s `(B, A)` by attention over channels, for queries `(A, R)`.

    With p the attention and S the scores of one attribute over the channels, s = p.S and

        ds/d score_query = p F,    ds/d attention_query = (p * S) F - s (p F),

    so backward needs only two sums over the channels, `(B, A, R)` each. Source: channel branch of
    DAN in DEDN (Rao et al. 2024).
    """
    trains = torch.is_grad_enabled() and (
        score_query.requires_grad or attention_query.requires_grad
    )
    s: Tensor = torch.ops.zslkit.channel_attention(F, score_query, attention_query, trains)[0]
    return s


def _region_forward(
    F: Tensor, score_query: Tensor, attention_query: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """s, p and S of `region_attention_of`."""
    s, p, S = _region_shapes(F, score_query, attention_query)
    images, _ = _chunks(F)
    for b in range(0, len(F), images):
        some = slice(b, b + images)
        f = F[some]
        torch.bmm(score_query.expand(len(f), -1, -1), f, out=S[some])
        p[some] = torch.bmm(attention_query.expand(len(f), -1, -1), f).softmax(dim=-1)
        s[some] = (S[some] * p[some]).sum(dim=-1)
    return s, p, S


def _region_shapes(
    F: Tensor, score_query: Tensor, attention_query: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    batch, _, regions = F.shape
    count = score_query.shape[0]
    S, p = (F.new_empty(batch, count, regions) for _ in range(2))
    return F.new_empty(batch, count), p, S


def _region_gradients(
    F: Tensor, s: Tensor, p: Tensor, S: Tensor, by_s: Tensor | None, by_p: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gradients `(A, D)` of both queries from those of s and p."""
    by_score, by_attention = _query_shapes(F, s, p, S, by_s, by_p)
    by_score.zero_()
    by_attention.zero_()
    for b, f in enumerate(F):
        # ds/dS = p and ds/dlogit = p * (S - s); a gradient of p goes through the softmax.
        logit = torch.zeros_like(p[b])
        if by_s is not None:
            score = p[b] * by_s[b].unsqueeze(-1)
            by_score.addmm_(score, f.mT)
            logit += score * (S[b] - s[b].unsqueeze(-1))
        if by_p is not None:
            weighted = p[b] * by_p[b]
            logit += weighted - p[b] * weighted.sum(dim=-1, keepdim=True)
        by_attention.addmm_(logit, f.mT)
    return by_score, by_attention


def _query_shapes(
    F: Tensor, s: Tensor, p: Tensor, S: Tensor, by_s: Tensor | None, by_p: Tensor | None
) -> tuple[Tensor, Tensor]:
    by_score, by_attention = (F.new_empty(p.shape[1], F.shape[1]) for _ in range(2))
    return by_score, by_attention


def _region_keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    s, p, S = output
    ctx.save_for_backward(inputs[0], s, p, S)
    ctx.mark_non_differentiable(S)
    ctx.set_materialize_grads(False)


@once_differentiable
def _region_backward(
    ctx: Any, by_s: Tensor | None, by_p: Tensor | None, by_S: None
) -> tuple[None, Tensor, Tensor]:
    return None, *torch.ops.zslkit.region_attention_gradients(*ctx.saved_tensors, by_s, by_p)


def _channel_forward(
    F: Tensor, score_query: Tensor, attention_query: Tensor, trains: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """s of `channel_attention_of`, and its derivatives by both queries; empty if none trains."""
    s, by_score, by_attention = _channel_shapes(F, score_query, attention_query, trains)
    count = len(score_query)
    images, rows = _chunks(F)
    for b in range(0, len(F), images):
        f = F[b : b + images]
        for a in range(0, count, rows):
            here = slice(b, b + images), slice(a, a + rows)
            score, attention = score_query[here[1]], attention_query[here[1]]
            p, z = _unnormalised_softmax(torch.bmm(attention.expand(len(f), -1, -1), f.mT))
            context = torch.bmm(p, f).to(s.dtype).div_(z)
            s[here] = (context * score).sum(dim=-1)
            if trains:
                p *= torch.bmm(score.expand(len(f), -1, -1), f.mT)
                weighted = torch.bmm(p, f).to(s.dtype).div_(z)
                by_score[here] = context
                by_attention[here] = weighted.addcmul_(s[here].unsqueeze(-1), context, value=-1)
    return s, by_score, by_attention


def _channel_shapes(
    F: Tensor, score_query: Tensor, attention_query: Tensor, trains: bool
) -> tuple[Tensor, Tensor, Tensor]:
    batch, _, regions = F.shape
    count = score_query.shape[0]
    s = F.new_empty(batch, count, dtype=wide(F))
    shape = (batch, count, regions) if trains else (0,)
    by_score, by_attention = (s.new_empty(shape) for _ in range(2))
    return s, by_score, by_attention


def _channel_keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.dtype = inputs[1].dtype


@once_differentiable
def _channel_backward(
    ctx: Any, grad: Tensor, by_score: None, by_attention: None
) -> tuple[None, Tensor, Tensor, None]:
    grad = grad.T.unsqueeze(1)  # (A, 1, B)
    by_queries = [
        torch.bmm(grad.to(one.dtype), one.transpose(0, 1)).squeeze(1) for one in ctx.saved_tensors
    ]
    return None, by_queries[0].to(ctx.dtype), by_queries[1].to(ctx.dtype), None


def _unnormalised_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """p and z with p / z = softmax over the last dimension. Overwrites the logits.

    Callers divide sums over p by z, which is cheaper than dividing p. In half precision, where
    elementwise operations are slow and inexact, p is the softmax itself and z = 1.
    """
    if logits.dtype != wide(logits):
        return logits.softmax(dim=-1), logits.new_ones(())
    p = logits.sub_(logits.amax(dim=-1, keepdim=True)).exp_()
    return p, p.sum(dim=-1, keepdim=True)


def _chunks(F: Tensor) -> tuple[int, int]:
    """Number of images and number of attributes to compute at once."""
    budget = (_GPU_BYTES if F.is_cuda else _CPU_BYTES) // F.element_size() // F.shape[1]
    if F.is_cuda:
        images = max(1, budget // 64)
        return images, max(32, budget // images)
    # One image per thread; attributes in chunks, so that an image's attention fits into the cache.
    return torch.get_num_threads(), max(32, budget)


def wide(F: Tensor) -> torch.dtype:
    """Type for sums over F: float64 for float64, otherwise float32."""
    return torch.float64 if F.dtype == torch.float64 else torch.float32


# `torch.library.custom_op` would do the same in fewer lines, but its first call imports torch's
# compiler: 1.8 s and 150 MB for every command that scores an image.
_LIBRARY = torch.library.Library("zslkit", "FRAGMENT")  # type: ignore[no-untyped-call]


def _register(
    name: str,
    takes_and_gives: str,
    forward: Callable[..., Any],
    shapes: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    keep: Callable[..., None] | None = None,
) -> None:
    """Register torch.ops.zslkit.NAME; without a backward, its outputs have no gradient."""
    _LIBRARY.define(f"{name}({takes_and_gives}")  # type: ignore[no-untyped-call]
    _LIBRARY.impl(name, forward, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"zslkit::{name}", shapes, lib=_LIBRARY)
    if backward is not None:
        torch.library.register_autograd(
            f"zslkit::{name}", backward, setup_context=keep, lib=_LIBRARY
        )


_register(
    "region_attention",
    "Tensor F, Tensor score_query, Tensor attention_query) -> (Tensor, Tensor, Tensor)",
    _region_forward,
    _region_shapes,
    _region_backward,
    _region_keep,
)
_register(
    "region_attention_gradients",
    "Tensor F, Tensor s, Tensor p, Tensor S, Tensor? by_s, Tensor? by_p) -> (Tensor, Tensor)",
    _region_gradients,
    _query_shapes,
)
_register(
    "channel_attention",
    "Tensor F, Tensor score_query, Tensor attention_query, bool trains)"
    " -> (Tensor, Tensor, Tensor)",
    _channel_forward,
    _channel_shapes,
    _channel_backward,
    _channel_keep,
)
