"""Attention over the regions and over the channels of a feature map.

F is a feature map with regions as columns, `(B, D, R)`; queries have one row per attribute, `(A,
D)` or `(A, R)`.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit.functional.fast_attention import channel_attention_of, region_attention_of, wide
from zslkit.utils.devices import cpu_gains_by_bfloat16

CPU_GAINS = cpu_gains_by_bfloat16()
"""Read once, since reading the processor's flags would break the graph of a compiled loss."""


def unit_regions(feature_map: Tensor) -> Tensor:
    """Flatten a map to regions and scale each to unit length over the channels.

    Args:
        feature_map: `(B, D, H, W)`.

    Returns:
        F `(B, D, R)` with R = H * W.
    """
    return F_.normalize(feature_map.flatten(2), dim=1)


def region_answers(F: Tensor, *queries: Tensor) -> tuple[Tensor, ...]:
    """Products of regions and queries, F^T Q^T, computed as one matrix product.

    Args:
        F: `(B, D, R)`.
        *queries: Each `(A, D)`.

    Returns:
        One `(B, R, A)` tensor per query.
    """
    batch, channels, regions = F.shape
    F, *working = _working(F, *queries)
    with torch.autocast(F.device.type, enabled=False):
        # One product over all regions of all images: a batched product would need (B, A, D)
        # memory for the gradient of the queries.
        tokens = F.mT.reshape(batch * regions, channels)
        answers = F_.linear(tokens, torch.cat(working)).view(batch, regions, -1)
        return tuple(
            torch.tensor_split(answers, list(accumulate(len(q) for q in queries[:-1])), dim=2)
        )


def region_attention(
    F: Tensor, score_query: Tensor, attention_query: Tensor
) -> tuple[Tensor, Tensor]:
    """Attribute scores by attention over regions.

    s = sum_r A_r * (score_query F)_r with A = softmax over regions of (attention_query F). Sources:
    DAZLE (Huynh and Elhamifar 2020), MSDN (Chen et al. 2022), region branch of DAN in DEDN (Rao et
    al. 2024).

    Args:
        F: `(B, D, R)`.
        score_query: `(A, D)`.
        attention_query: `(A, D)`.

    Returns:
        Scores `(B, A)` and attention `(B, A, R)`.
    """
    working, *queries = _working(F, score_query, attention_query)
    if F.device.type == "cpu" and not F.requires_grad and working.dtype == wide(working):
        with torch.autocast("cpu", enabled=False):
            return region_attention_of(working, *queries)
    scores, logits = region_answers(F, score_query, attention_query)
    with torch.autocast(F.device.type, enabled=False):
        attention = logits.softmax(dim=1)
        return (scores * attention).sum(dim=1), attention.mT


def channel_attention(F: Tensor, score_query: Tensor, attention_query: Tensor) -> Tensor:
    """Attribute scores by attention over channels.

    s = sum_c A_c * (score_query F^T)_c with A = softmax over channels of (attention_query F^T).
    Equal to `channel_attention_plain`. If F needs no gradient, the gradient of the queries is
    computed in the forward pass, and nothing of size (B, A, D) is kept. Source: channel branch of
    DAN in DEDN (Rao et al. 2024).

    Args:
        F: `(B, D, R)`.
        score_query: `(A, R)`.
        attention_query: `(A, R)`.

    Returns:
        Scores `(B, A)`.
    """
    F, score_query, attention_query = _working(F, score_query, attention_query)
    with torch.autocast(F.device.type, enabled=False):
        if F.requires_grad:
            return channel_attention_plain(F, score_query, attention_query)[0]
        return channel_attention_of(F, score_query, attention_query)


def channel_attention_plain(
    F: Tensor, score_query: Tensor, attention_query: Tensor
) -> tuple[Tensor, Tensor]:
    """`channel_attention` without the memory-saving form.

    Args:
        F: `(B, D, R)`.
        score_query: `(A, R)`.
        attention_query: `(A, R)`.

    Returns:
        Scores `(B, A)` and attention `(B, A, D)`.
    """
    attention = torch.matmul(attention_query, F.mT).softmax(dim=-1)
    return (torch.matmul(score_query, F.mT) * attention).sum(dim=-1), attention


def _working(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in autocast's dtype, if autocast is on and the device gains from it."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    if dtype == torch.bfloat16 and device == "cpu" and not CPU_GAINS:
        dtype = torch.float32  # bfloat16 products would be slower and less exact here
    return tuple(t.to(dtype) for t in tensors)
