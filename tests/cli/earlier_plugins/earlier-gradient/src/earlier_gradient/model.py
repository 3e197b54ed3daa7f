"""EarlierGradient: each attribute looks for its own place in the image."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from zslkit.errors import UserError
from zslkit.functional import region_attention, unit_regions
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Task


class EarlierGradientConfig(GradientConfig):
    """Settings of EarlierGradient, beside those of the training loop (train.*)."""

    scale: float = Field(20.0, gt=0, description="factor of the cosine between attribute scores and a class")
    w_attribute: float = Field(0.1, ge=0, description="weight of the regression of attribute scores")


class EarlierGradient(GradientModel):
    """Attributes that attend to regions.

        A_i = softmax over regions of q_i F         where attribute i looks; q_i a row of Q (A, D)
        s_i = sum over regions of A_i * (v_i F)     how much of it is there; v_i a row of V (A, D)
        z_k = scale * cos(s, a_k)                   class score

    F (D, R) are the regions of the feature map, each of unit length.
    """

    inputs = ("map", "image")
    loss_is_mean = True  # so several GPUs can share a batch: zslkit run --processes 2
    citation = "unpublished"
    presets = "presets"
    Config = EarlierGradientConfig

    config: EarlierGradientConfig

    def __init__(self, config: EarlierGradientConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(f"{task.dataset}: earlier-gradient needs feature maps; set features.input=map")
        shape = (task.n_attributes, task.map_shape[0])
        self.V = nn.Parameter(torch.randn(shape))
        self.Q = nn.Parameter(torch.zeros(shape))  # attention starts uniform

    def attribute_scores(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """s (B, A) and attention (B, A, R) of maps (B, D, H, W)."""
        return region_attention(unit_regions(feature_map), self.V, self.Q)

    def class_scores(self, s: Tensor) -> Tensor:
        """z (B, C) of attribute scores s (B, A)."""
        return self.config.scale * F.normalize(s, dim=1) @ F.normalize(self.attributes, dim=1).T

    def scores(self, x: Tensor) -> Tensor:
        s, _ = self.attribute_scores(self.embed(x))
        return self.class_scores(s)

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        s, _ = self.attribute_scores(self.embed(x))
        seen_only = self.class_scores(s).masked_fill(~self.seen, float("-inf"))
        return {
            "cross_entropy": F.cross_entropy(seen_only, label),
            "attribute": self.config.w_attribute * F.mse_loss(s, self.attributes[label]),
        }

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        feature_map = self.embed(x)
        s, attention = self.attribute_scores(feature_map)
        return {"regions": AttentionMaps(attention.unflatten(2, feature_map.shape[2:]), s)}
