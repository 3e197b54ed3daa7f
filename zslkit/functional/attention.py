"""Attention to regions and to channels of a feature map.

F is a feature map with its regions as columns, (B, D, R); queries are rows, one per attribute, (A, D) or (A, R).
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit.functional.fast_attention import ChannelAttention, RegionAttention, wide
from zslkit.utils.devices import cpu_gains_by_bfloat16


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
        return tuple(
            torch.tensor_split(answers, list(accumulate(len(q) for q in queries[:-1])), dim=2)
        )


def region_attention(
    F: Tensor, score_query: Tensor, attention_query: Tensor
) -> tuple[Tensor, Tensor]:
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


def channel_attention_plain(
    F: Tensor, score_query: Tensor, attention_query: Tensor
) -> tuple[Tensor, Tensor]:
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
