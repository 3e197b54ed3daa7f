"""Equations that several models of the field share, written once.

F is a feature map with its regions as columns, (B, D, R); queries are rows, one per attribute, (A, D) or (A, R).
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit import ranks
from zslkit.attention import ChannelAttention, RegionAttention, wide
from zslkit.devices import cpu_gains_by_bfloat16


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
    if F.device.type == "cpu" and not F.requires_grad and working.dtype == wide(working):
        with torch.autocast("cpu", enabled=False):
            s, attention = RegionAttention.apply(working, *queries)
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
        scores: Tensor = ChannelAttention.apply(F, score_query, attention_query)
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
