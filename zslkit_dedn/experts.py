"""Two experts over one feature map: cExp, a DAN over all attributes, and fExp, a DAN per attribute cluster."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zslkit.functional import channel_attention, region_attention
from zslkit_dedn.attention import DAN, Queries
from zslkit_dedn.groups import Clusters


class AttributeScores(NamedTuple):
    """An expert's attribute scores from the regions and from the channels, each (B, A)."""

    region: Tensor
    channel: Tensor


class Experts(nn.Module):
    """cExp and fExp. Both see the same map, so their queries are stacked and answered in one pass."""

    restore: Tensor

    def __init__(self, words: Tensor, clusters: Clusters, channels: int, regions: int, rank: int | None = None) -> None:
        """words (A, W); clusters partition 0..A-1."""
        super().__init__()
        self.coarse = DAN(words, channels, regions, rank)
        self.fine = nn.ModuleList(DAN(words[list(c)], channels, regions, rank) for c in clusters)
        order = torch.tensor([i for c in clusters for i in c])
        # the clusters' rows, put together, are sorted back into the dataset's order of attributes
        self.register_buffer("restore", torch.argsort(order), persistent=False)

    def queries(self) -> Queries:
        """Rows of cExp, then rows of fExp, each in the dataset's order: (2A, D) or (2A, R)."""
        fine = [torch.cat(rows)[self.restore] for rows in zip(*(d.queries() for d in self.fine), strict=True)]  # type: ignore[operator]
        return Queries(*(torch.cat(pair) for pair in zip(self.coarse.queries(), fine, strict=True)))

    def forward(self, F: Tensor) -> tuple[AttributeScores, AttributeScores]:
        """Attribute scores of cExp and of fExp for maps F (B, D, R)."""
        q = self.queries()
        region, _ = region_attention(F, q.region_score, q.region_attention)
        channel = channel_attention(F, q.channel_score, q.channel_attention)
        (rc, rf), (cc, cf) = region.chunk(2, dim=1), channel.chunk(2, dim=1)
        return AttributeScores(rc, cc), AttributeScores(rf, cf)
