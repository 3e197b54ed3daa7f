"""Two experts over one feature map: cExp, a DAN over all attributes, and fExp, a DAN per attribute cluster."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from zslkit.functional import channel_attention, channel_attention_plain, region_attention
from zslkit.model import AttentionMaps
from zslkit_dedn.attention import DAN, Branch, Queries
from zslkit_dedn.groups import Clusters

Expert = Literal["cexp", "fexp"]
SHOWN = {"cexp": "cExp", "fexp": "fExp"}
"""The experts as people write them."""


class ExpertScores(NamedTuple):
    """An expert's attribute scores from the regions and from the channels, each (B, A); None for a branch left out."""

    region: Tensor | None
    channel: Tensor | None

    def mixed(self, c_mix: float) -> Tensor:
        """At inference: c_mix * s_region + (1 - c_mix) * s_channel, or the one there is."""
        if self.region is None or self.channel is None:
            return self.summed()
        return c_mix * self.region + (1 - c_mix) * self.channel

    def summed(self) -> Tensor:
        """In training: s_region + s_channel, or the one there is."""
        present = [s for s in self if s is not None]
        return present[0] if len(present) == 1 else present[0] + present[1]


class Experts(nn.Module):
    """cExp, fExp or both. They see the same map, so their queries are stacked and answered in one pass."""

    restore: Tensor

    def __init__(
        self,
        words: Tensor,
        clusters: Clusters,
        channels: int,
        regions: int,
        rank: int | None = None,
        experts: tuple[Expert, ...] = ("cexp", "fexp"),
        branches: tuple[Branch, ...] = ("region", "channel"),
    ) -> None:
        """words (A, W); clusters partition 0..A-1."""
        super().__init__()
        self.experts, self.branches = experts, branches
        if "cexp" in experts:
            self.coarse = DAN(words, channels, regions, rank, branches)
        if "fexp" in experts:
            self.fine = nn.ModuleList(
                DAN(words[list(c)], channels, regions, rank, branches) for c in clusters
            )
        order = torch.tensor([i for c in clusters for i in c])
        # the clusters' rows, put together, are sorted back into the dataset's order of attributes
        self.register_buffer("restore", torch.argsort(order), persistent=False)

    def queries(self, branch: Branch) -> Queries:
        """The experts' rows under each other, those of fExp in the dataset's order: (A, .) each, cExp first."""
        stacked: list[Queries] = []
        if "cexp" in self.experts:
            stacked.append(self.coarse.queries(branch))
        if "fexp" in self.experts:
            rows = zip(*(dan.queries(branch) for dan in self.fine), strict=True)  # type: ignore[operator]
            stacked.append(
                Queries(*(torch.cat(parts).index_select(0, self.restore) for parts in rows))
            )
        return Queries(*(torch.cat(parts) for parts in zip(*stacked, strict=True)))

    def forward(self, F: Tensor) -> dict[Expert, ExpertScores]:
        """Attribute scores of each expert for maps F (B, D, R)."""
        region = (
            region_attention(F, *self.queries("region"))[0] if "region" in self.branches else None
        )
        channel = (
            channel_attention(F, *self.queries("channel")) if "channel" in self.branches else None
        )
        return {
            expert: ExpertScores(r, c)
            for expert, r, c in zip(
                self.experts, self._each(region), self._each(channel), strict=True
            )
        }

    def attention(self, F: Tensor, c_mix: float) -> dict[str, AttentionMaps]:
        """Region attention (B, A, R), mixed attribute scores and channel attention (B, A, D) of each expert, everything kept.

        Nothing if there is no region branch.
        """
        if "region" not in self.branches:
            return {}
        region, maps = region_attention(F, *self.queries("region"))
        channel, weights = (
            channel_attention_plain(F, *self.queries("channel"))
            if "channel" in self.branches
            else (None, None)
        )
        parts = zip(
            self.experts,
            maps.chunk(len(self.experts), dim=1),
            *map(self._each, (region, channel, weights)),
            strict=True,
        )
        return {
            SHOWN[expert]: AttentionMaps(m, ExpertScores(r, c).mixed(c_mix), w)
            for expert, m, r, c, w in parts
        }

    def _each(self, stacked: Tensor | None) -> tuple[Tensor | None, ...]:
        """What belongs to each expert of (B, A or 2A, ...)."""
        count = len(self.experts)
        return (None,) * count if stacked is None else stacked.chunk(count, dim=1)
