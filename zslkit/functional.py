"""Equations that several models of the field share, written once.

F is a feature map with its regions as columns, (B, D, R); queries are rows, one per attribute, (A, D) or (A, R).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit import ranks


def unit_regions(feature_map: Tensor) -> Tensor:
    """A map (B, D, H, W) as regions of unit length over the channels, F (B, D, R)."""
    return F_.normalize(feature_map.flatten(2), dim=1)


def region_answers(F: Tensor, *queries: Tensor) -> tuple[Tensor, ...]:
    """What each region answers to each row of each query: F^T Q^T, (B, R, A) for queries Q (A, D).

    F (B, D, R). The answers to several queries are parts of one product.
    """
    batch, channels, regions = F.shape
    F, *working = _working(F, *queries)
    with torch.autocast(F.device.type, enabled=False):
        # One product over all regions of all images: its gradient by the queries is one product too, where a
        # batched product would hold (B, A, D) gradients before it sums them.
        tokens = F.mT.reshape(batch * regions, channels)
        answers = F_.linear(tokens, torch.cat(working)).view(batch, regions, -1)
        return tuple(torch.tensor_split(answers, list(accumulate(len(q) for q in queries[:-1])), dim=2))


def region_attention(F: Tensor, score_query: Tensor, attention_query: Tensor) -> tuple[Tensor, Tensor]:
    """Attribute scores s = sum_r A_r * (score_query F)_r with A = softmax over regions of (attention_query F).

    F (B, D, R); queries (A, D). Returns scores (B, A) and attention (B, A, R). DAZLE's, MSDN's and DAN's region branch.
    """
    working, *queries = _working(F, score_query, attention_query)
    if F.device.type == "cpu" and not F.requires_grad and working.dtype == _wide(working):
        with torch.autocast("cpu", enabled=False):
            s, attention = _RegionAttention.apply(working, *queries)
        return s, attention
    scores, logits = region_answers(F, score_query, attention_query)
    with torch.autocast(F.device.type, enabled=False):
        attention = logits.softmax(dim=1)
        return (scores * attention).sum(dim=1), attention.mT


def channel_attention(F: Tensor, score_query: Tensor, attention_query: Tensor) -> Tensor:
    """Attribute scores s = sum_c A_c * (score_query F^T)_c with A = softmax over channels of (attention_query F^T).

    F (B, D, R); queries (A, R). Returns (B, A). DAN's channel branch, equal to `channel_attention_plain`; if F
    needs no gradient, nothing of size (B, A, D) is kept and the gradient by the queries is formed on the way forward.
    """
    F, score_query, attention_query = _working(F, score_query, attention_query)
    with torch.autocast(F.device.type, enabled=False):
        if F.requires_grad:
            return channel_attention_plain(F, score_query, attention_query)[0]
        scores: Tensor = _ChannelAttention.apply(F, score_query, attention_query)
    return scores


def channel_attention_plain(F: Tensor, score_query: Tensor, attention_query: Tensor) -> tuple[Tensor, Tensor]:
    """The same as a formula: scores (B, A) and attention (B, A, D), everything kept."""
    attention = torch.matmul(attention_query, F.mT).softmax(dim=-1)
    return (torch.matmul(score_query, F.mT) * attention).sum(dim=-1), attention


def _working(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the type that autocast asks for, if it is on and the device computes in it."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    dtype = torch.get_autocast_dtype(kind)
    if dtype == torch.bfloat16 and kind == "cpu" and not cpu_gains_by_bfloat16():
        dtype = torch.float32  # products in bfloat16 would take longer and be less exact
    return tuple(t.to(dtype) for t in tensors)


@lru_cache(maxsize=1)
def cpu_gains_by_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32; True where the system does not tell."""
    try:
        return gains_by_bfloat16(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return True


def gains_by_bfloat16(cpuinfo: str) -> bool:
    """The same, told by what Linux says of the processor: by its name and its flags, so that a run's numbers never hang on a clock."""
    words = set(cpuinfo.split())
    if words & {"amx_bf16", "bf16"}:
        return True
    # Intel's instruction without AMX, which virtual machines often hide, has half the rate of its float32 products.
    return "avx512_bf16" in words and "GenuineIntel" not in words


_CPU_BYTES = 1_280_000  # of attention, of the images at work: long enough products, short enough for the caches
_GPU_BYTES = 400_000_000


class _RegionAttention(torch.autograd.Function):
    """On processors, in float32: F is read as it lies, where one product over all images would want a transposed copy of it, and the
    gradient by the queries is summed image by image, where a batched product would hold (B, A, D) of it. Kept are the attention p
    and the scores S of the regions, (B, A, R) each."""

    @staticmethod
    def forward(ctx: Any, F: Tensor, score_query: Tensor, attention_query: Tensor) -> tuple[Tensor, Tensor]:
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
    def backward(ctx: Any, by_s: Tensor | None, by_p: Tensor | None) -> tuple[None, Tensor, Tensor]:
        F, S, p, s = ctx.saved_tensors
        by_score, by_attention = (F.new_zeros(p.shape[1], F.shape[1]) for _ in range(2))
        for b, f in enumerate(F):
            # ds/dS = p and ds/dlogit = p * (S - s); what the loss says of p itself goes through the softmax
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


class _ChannelAttention(torch.autograd.Function):
    """With p the attention and S the scores of one attribute over the channels, s = p.S and

    ds/d score_query = p F,    ds/d attention_query = (p * S) F - s (p F),

    so two sums over the channels, of size (B, A, R), are all that backward needs.
    """

    @staticmethod
    def forward(ctx: Any, F: Tensor, score_query: Tensor, attention_query: Tensor) -> Tensor:
        batch, _, regions = F.shape
        count = len(score_query)
        trains = score_query.requires_grad or attention_query.requires_grad
        s = F.new_empty(batch, count, dtype=_wide(F))
        by_score, by_attention = (s.new_empty(batch, count, regions) if trains else None for _ in range(2))
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
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        grad = grad.T.unsqueeze(1)  # (A, 1, B)
        by_queries = [torch.bmm(grad.to(one.dtype), one.transpose(0, 1)).squeeze(1) for one in ctx.saved_tensors]
        return None, by_queries[0].to(ctx.dtype), by_queries[1].to(ctx.dtype)


def _unnormalised_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """p and z, whose quotient is the softmax over the last dimension: sums over p are divided instead of p, which is far larger.

    Overwrites the logits. In half precision, where single operations are slow and inexact, p is the softmax itself.
    """
    if logits.dtype != _wide(logits):
        return logits.softmax(dim=-1), logits.new_ones(())
    p = logits.sub_(logits.amax(dim=-1, keepdim=True)).exp_()
    return p, p.sum(dim=-1, keepdim=True)


def _chunks(F: Tensor) -> tuple[int, int]:
    """How many images and how many attributes to work on at once."""
    budget = (_GPU_BYTES if F.is_cuda else _CPU_BYTES) // F.element_size() // F.shape[1]
    if F.is_cuda:
        images = max(1, budget // 64)
        return images, max(32, budget // images)
    # Images are spread over the threads; attributes are cut so that one image's attention stays in a core's cache.
    return torch.get_num_threads(), max(32, budget)


def _wide(F: Tensor) -> torch.dtype:
    return torch.float64 if F.dtype == torch.float64 else torch.float32


def whole_batch(share: Tensor) -> Tensor:
    """Rows of all images of the batch, (B, ...), of those that this process has, (b, ...); the same tensor where one process has all.

    For a loss term that is no mean over images, such as the logarithm of a mean. Gradients flow to the process that has the image.
    """
    size = ranks.batch()
    if size is None:
        return share
    rows = share.new_zeros(size, *share.shape[1:])
    rows[ranks.share(size)] = share
    return whole_sum(rows)


def whole_sum(share: Tensor) -> Tensor:
    """A sum over all images of the batch, of the sum over those that this process has; the same tensor where one process has all."""
    return share if ranks.batch() is None else _WholeSum.apply(share)


class _WholeSum(torch.autograd.Function):
    """The sum over processes. Each of them uses the sum in its own part of the loss, so its gradient is a sum over them too."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        return ranks.summed(share.detach().clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return ranks.summed(grads[0].clone(memory_format=torch.contiguous_format))


def seen_bias(seen: Tensor, bias: float) -> Tensor:
    """(C,) float: -bias for seen classes and +bias for unseen ones, given seen (C,) bool."""
    return torch.where(seen, -bias, bias)


def self_calibration(z: Tensor, seen: Tensor) -> Tensor:
    """-log of the batch mean of the probability mass on unseen classes (DAZLE, section 3.4).

    z (B, C) biased scores; seen (C,) bool. Returns a scalar; 0 if there is no unseen class.
    """
    if bool(seen.all()):
        return z.new_zeros(())
    mass = torch.logsumexp(z.masked_fill(seen, float("-inf")), dim=1) - torch.logsumexp(z, dim=1)
    mass = whole_batch(mass)
    return -(torch.logsumexp(mass, dim=0) - torch.log(z.new_tensor(float(len(mass)))))


def distillation_distance(x: Tensor, y: Tensor) -> Tensor:
    """Dist(x, y) of DEDN.md and MSDN: mean over the batch of sum |d|^3 / ||d||_2, plus Jensen-Shannon divergence.

    x, y (B, n) with d = x - y; neither side is detached. Returns a scalar. 1e-9 inside the root keeps the gradient
    finite where x equals y.
    """
    d = x - y
    cubic = (d.abs() ** 3).sum(dim=1) / (d.square().sum(dim=1) + 1e-9).sqrt()
    log_p, log_q = x.log_softmax(dim=1), y.log_softmax(dim=1)
    log_m = torch.logaddexp(log_p, log_q) - torch.log(x.new_tensor(2.0))
    divergence = ((log_p.exp() * (log_p - log_m)).sum(dim=1) + (log_q.exp() * (log_q - log_m)).sum(dim=1)) / 2
    return (cubic + divergence).mean()


__all__ = [
    "channel_attention",
    "channel_attention_plain",
    "distillation_distance",
    "region_answers",
    "region_attention",
    "seen_bias",
    "self_calibration",
    "unit_regions",
    "whole_batch",
    "whole_sum",
]
