"""DeViSE: a bilinear map with a hinge loss over all wrong classes (Frome et al., NeurIPS 2013)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from .compatibility import Compatibility, CompatibilityConfig, sum_of_hinges


class DeViSE(Compatibility):
    """Minimises sum_y [margin + F(x, y) - F(x, y_n)]_+ over seen classes y other than the true y_n.

    F(x, y) = x^T W a_y. The class embeddings a_y are attributes instead of word vectors, as in Xian
    et al. 2018.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = "Frome et al. DeViSE: a deep visual-semantic embedding model. NeurIPS 2013"
    presets = "presets/devise"
    search: ClassVar = {"centre": (False, True), "train.lr": (0.03, 0.1, 0.3, 1.0)}
    Config = CompatibilityConfig

    def ranking(self, h: Tensor) -> Tensor:
        return sum_of_hinges(h)
