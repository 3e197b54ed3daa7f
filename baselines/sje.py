"""SJE: a bilinear map with a hinge loss on the highest wrong class (Akata et al., CVPR 2015)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from .compatibility import Compatibility, CompatibilityConfig, largest_hinge


class SJE(Compatibility):
    """Minimises max_y [margin + F(x, y) - F(x, y_n)]_+ over seen classes y other than the true y_n.

    F(x, y) = x^T W a_y.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = (
        "Akata, Reed, Walter, Lee and Schiele. Evaluation of output embeddings for "
        "fine-grained image classification. CVPR 2015"
    )
    presets = "presets/sje"
    search: ClassVar = {"centre": (False, True), "train.lr": (0.3, 1.0, 3.0, 10.0)}
    Config = CompatibilityConfig

    def ranking(self, h: Tensor) -> Tensor:
        return largest_hinge(h)
