"""LATEM: several bilinear maps; each image uses its best one (Xian et al., CVPR 2016)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from .compatibility import (
    Compatibility,
    CompatibilityConfig,
    largest_hinge,
    rank_weighted,
    sum_of_hinges,
)

RANKINGS = {"sum": sum_of_hinges, "largest": largest_hinge, "rank": rank_weighted}


class LATEMConfig(CompatibilityConfig):
    """Settings of LATEM."""

    K: int = Field(4, ge=1, description="number of matrices W_i; the paper searches 2, 4, 6, 8, 10")
    ranking: Literal["sum", "largest", "rank"] = Field(
        "sum",
        description=(
            "loss over the hinges: their sum as in the paper, the largest as in SJE, "
            "rank-weighted as in ALE"
        ),
    )


class LATEM(Compatibility):
    """F(x, y) = max_i x^T W_i a_y over K matrices, piecewise linear in x.

    Trained by sum_y [margin + F(x, y) - F(x, y_n)]_+. With K = 1 it is DeViSE, SJE or ALE,
    depending on `ranking`.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = (
        "Xian, Akata, Sharma, Nguyen, Hein and Schiele. Latent embeddings for zero-shot "
        "classification. CVPR 2016"
    )
    presets = "presets/latem"
    search: ClassVar = {"centre": (False, True), "K": (2, 4)}
    Config = LATEMConfig

    config: LATEMConfig

    def shape_of_W(self) -> tuple[int, ...]:
        return self.config.K, *super().shape_of_W()

    def compatibility(self, x: Tensor, attributes: Tensor) -> Tensor:
        return (x @ self.W @ attributes.T).amax(dim=0)

    def ranking(self, h: Tensor) -> Tensor:
        return RANKINGS[self.config.ranking](h)
