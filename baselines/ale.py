"""ALE: a bilinear map with a ranking loss weighted by rank (Akata et al., TPAMI 2016)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from .compatibility import Compatibility, CompatibilityConfig, rank_weighted


class ALE(Compatibility):
    """Minimises l_r / r * sum_y [margin + F(x, y) - F(x, y_n)]_+ over the seen classes.

    F(x, y) = x^T W a_y; r is the number of classes within the margin and l_k = sum_{i<=k} 1/i, so
    that the loss bounds a sum of l over ranks.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = (
        "Akata, Perronnin, Harchaoui and Schmid. Label-embedding for image classification. "
        "TPAMI 2016"
    )
    presets = "presets/ale"
    search: ClassVar = {"centre": (False, True), "train.lr": (0.1, 0.3, 1.0, 3.0)}
    Config = CompatibilityConfig

    def ranking(self, h: Tensor) -> Tensor:
        return rank_weighted(h)
