"""The experts of DEDN: cExp, a DAN over all attributes, and fExp, a DAN per cluster."""

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
"""Display names of the experts."""


class ExpertScores(NamedTuple):
    """Attribute scores `(B, A)` of one expert from regions and channels; None if left out."""

    region: Tensor | None
    channel: Tensor | None

    def mixed(self, c_mix: float) -> Tensor:
        """Inference: c_mix * s_region + (1 - c_mix) * s_channel, or the only branch."""
        if self.region is None or self.channel is None:
            return self.summed()
        return c_mix * self.region + (1 - c_mix) * self.channel

    def summed(self) -> Tensor:
        """Training: s_region + s_channel, or the only branch."""
        present = [s for s in self if s is not None]
        return present[0] if len(present) == 1 else present[0] + present[1]


class Experts(nn.Module):
    """cExp, fExp or both. Their queries are stacked, so that one pass over the map serves both.

    Args:
        words: `(A, W)` word vectors.
        clusters: Partition of the attributes 0..A-1 for fExp.
        channels: D.
        regions: R.
        rank: As in DAN.
        experts: Experts to build.
        branches: As in DAN.
    """

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
        super().__init__()
        self.experts, self.branches = experts, branches
        if "cexp" in experts:
            self.coarse = DAN(words, channels, regions, rank, branches)
        if "fexp" in experts:
            self.fine = nn.ModuleList(
                DAN(words[list(c)], channels, regions, rank, branches) for c in clusters
            )
        order = torch.tensor([i for c in clusters for i in c])
        # sorts the concatenated rows of all clusters into the dataset's order of attributes
        self.register_buffer("restore", torch.argsort(order), persistent=False)

    def queries(self, branch: Branch) -> Queries:
        """Stacked queries of the experts, cExp first; A rows each, in the dataset's order."""
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
        """Attribute scores of each expert for maps F `(B, D, R)`."""
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
        """Region attention, mixed attribute scores and channel attention of each expert.

        Args:
            F: Maps `(B, D, R)`.
            c_mix: Share of the region branch.

        Returns:
            Expert -> maps `(B, A, R)`, scores `(B, A)`, channels `(B, A, D)`; empty without a
            region branch.
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
        """Split `(B, A or 2A, ...)` by expert."""
        count = len(self.experts)
        return (None,) * count if stacked is None else stacked.chunk(count, dim=1)
