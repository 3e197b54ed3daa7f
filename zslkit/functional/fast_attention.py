"""Fast autograd functions behind `zslkit.functional`: attention with gradients of its queries only.

F is a feature map with regions as columns, `(B, D, R)`, and needs no gradient; queries have one row
per attribute. Large products are computed in pieces that fit into the cache of a CPU core.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Bytes of attention computed at once: large enough for fast products, small enough for the cache.
_CPU_BYTES = 1_280_000
_GPU_BYTES = 400_000_000


class RegionAttention(torch.autograd.Function):
    """Scores s `(B, A)` and attention p `(B, A, R)` over regions, for queries `(A, D)`.

    For CPUs, in float32. F is used without a transposed copy, and the gradient of the queries is
    summed image by image without a (B, A, D) tensor. Saved for backward: p and the region scores S,
    `(B, A, R)` each. Source: region branch of DAN in DEDN (Rao et al. 2024).
    """

    @staticmethod
    def forward(
        ctx: Any, F: Tensor, score_query: Tensor, attention_query: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, _, regions = F.shape
        S, p = (F.new_empty(batch, len(score_query), regions) for _ in range(2))
        s = F.new_empty(batch, len(score_query))
        images, _ = _chunks(F)
        for b in range(0, batch, images):
            some = slice(b, b + images)
            f = F[some]
            torch.bmm(score_query.expand(len(f), -1, -1), f, out=S[some])
            p[some] = torch.bmm(attention_query.expand(len(f), -1, -1), f).softmax(dim=-1)
            s[some] = (S[some] * p[some]).sum(dim=-1)
        ctx.save_for_backward(F, S, p, s)
        ctx.set_materialize_grads(False)
        return s, p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_s: Tensor | None, by_p: Tensor | None) -> tuple[None, Tensor, Tensor]:
        F, S, p, s = ctx.saved_tensors
        by_score, by_attention = (F.new_zeros(p.shape[1], F.shape[1]) for _ in range(2))
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
        return None, by_score, by_attention


class ChannelAttention(torch.autograd.Function):
    """Scores s `(B, A)` by attention over channels, for queries `(A, R)`.

    With p the attention and S the scores of one attribute over the channels, s = p.S and

        ds/d score_query = p F,    ds/d attention_query = (p * S) F - s (p F),

    so backward needs only two sums over the channels, `(B, A, R)` each. Source: channel branch of
    DAN in DEDN (Rao et al. 2024).
    """

    @staticmethod
    def forward(ctx: Any, F: Tensor, score_query: Tensor, attention_query: Tensor) -> Tensor:
        batch, _, regions = F.shape
        count = len(score_query)
        trains = score_query.requires_grad or attention_query.requires_grad
        s = F.new_empty(batch, count, dtype=wide(F))
        by_score, by_attention = (
            s.new_empty(batch, count, regions) if trains else None for _ in range(2)
        )
        images, rows = _chunks(F)
        for b in range(0, batch, images):
            f = F[b : b + images]
            for a in range(0, count, rows):
                here = slice(b, b + images), slice(a, a + rows)
                score, attention = score_query[here[1]], attention_query[here[1]]
                p, z = _unnormalised_softmax(torch.bmm(attention.expand(len(f), -1, -1), f.mT))
                context = torch.bmm(p, f).to(s.dtype).div_(z)
                s[here] = (context * score).sum(dim=-1)
                if by_score is not None and by_attention is not None:
                    p *= torch.bmm(score.expand(len(f), -1, -1), f.mT)
                    weighted = torch.bmm(p, f).to(s.dtype).div_(z)
                    by_score[here] = context
                    by_attention[here] = weighted.addcmul_(s[here].unsqueeze(-1), context, value=-1)
        if trains:
            ctx.save_for_backward(by_score, by_attention)
        ctx.dtype = score_query.dtype
        return s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        grad = grad.T.unsqueeze(1)  # (A, 1, B)
        by_queries = [
            torch.bmm(grad.to(one.dtype), one.transpose(0, 1)).squeeze(1)
            for one in ctx.saved_tensors
        ]
        return None, by_queries[0].to(ctx.dtype), by_queries[1].to(ctx.dtype)


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
