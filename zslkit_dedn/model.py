"""DEDN: a coarse and a fine expert that look at regions and channels and teach each other."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F_

from zslkit.errors import UserError
from zslkit.functional import distillation_distance, seen_bias, self_calibration
from zslkit.model import GradientConfig, GradientModel, Task
from zslkit_dedn.experts import AttributeScores, Experts
from zslkit_dedn.groups import choose
from zslkit_dedn.losses import margin_aware_loss


class DEDNConfig(GradientConfig):
    """Symbols of DEDN.md; defaults are those of the released CUB run where it has a say."""

    clusters: str = Field("groups", description="attribute clusters of fExp: groups, single, cub, sun or awa2 (the paper's)")
    rank: int | None = Field(None, ge=1, description="factor W1 as (W, h)(h, D), as the authors do on SUN")
    bias: float = Field(1.0, description="b_k: -bias for seen, +bias for unseen classes")
    m_seen: float = Field(1.0, ge=0, description="margin added to every seen class")
    m_true: float = Field(3.0, ge=0, description="margin taken from the true class")
    lambda_cal: float = Field(0.0, ge=0, description="weight of self-calibration")
    lambda_e: float = Field(0.1, ge=0, description="weight of expert distillation")
    lambda_rc: float = Field(0.001, ge=0, description="weight of region-channel alignment")
    c_mix: float = Field(0.8, ge=0, le=1, description="share of the region branch at inference")
    e_mix: float = Field(0.9, ge=0, le=1, description="share of cExp at inference")
    words: Literal["given", "random"] = Field("given", description="start of V: the dataset's word vectors, or random ones")
    word_dim: int = Field(300, ge=1, description="width of random word vectors")


class DEDN(GradientModel):
    """Dual Expert Distillation Network (Rao et al., IJCAI 2024)."""

    inputs = ("map", "image")
    needs = ("word_vectors",)
    protocol = "class-inductive"
    citation = (
        "Rao et al., Dual Expert Distillation Network for Generalized Zero-Shot Learning, IJCAI 2024, pp. 4833-4841, arXiv:2404.16348"
    )
    presets = "presets"
    mixes: ClassVar[dict[str, tuple[Any, ...]]] = {
        "c_mix": (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
        "e_mix": (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
    }
    Config = DEDNConfig

    b: Tensor

    def __init__(self, config: DEDNConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(
                f"{task.dataset}: this model looks at regions and needs feature maps (D, H, W), not pooled features; prepare maps"
            )
        channels, height, width = task.map_shape
        self.experts = Experts(self._words(config, task), choose(config.clusters, task), channels, height * width, config.rank)
        self.register_buffer("b", seen_bias(self.seen, config.bias), persistent=False)

    @staticmethod
    def _words(config: DEDNConfig, task: Task) -> Tensor:
        if config.words == "random":
            return torch.randn(task.n_attributes, config.word_dim)
        if task.word_vectors is None:
            raise UserError(
                f"{task.dataset} has no word vectors of its attributes, which this model starts from; "
                "add them, or start at random with words=random"
            )
        return torch.from_numpy(task.word_vectors).float()

    def attribute_scores(self, x: Tensor) -> tuple[AttributeScores, AttributeScores]:
        """Attribute scores of cExp and fExp for inputs (B, D, H, W), or images if the backbone is trained."""
        F = F_.normalize(self.embed(x).flatten(2), dim=1)
        return self.experts(F)  # type: ignore[no-any-return]

    def class_scores(self, s: Tensor) -> Tensor:
        """z_k = a_k . s + b_k for attribute scores s (B, A): (B, C)."""
        return s @ self.attributes.T + self.b

    def expert_scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores (B, C) of cExp and fExp at inference: regions and channels mixed by c_mix."""
        mix = self.config.c_mix
        coarse, fine = (self.class_scores(mix * s.region + (1 - mix) * s.channel) for s in self.attribute_scores(x))
        return coarse, fine

    def scores(self, x: Tensor) -> Tensor:
        coarse, fine = self.expert_scores(x)
        e_mix: float = self.config.e_mix
        return e_mix * coarse + (1 - e_mix) * fine

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """The terms of DEDN.md, unweighted, and their weighted "total"."""
        cfg = self.config
        terms: dict[str, Tensor] = {}
        total = torch.zeros((), device=label.device)
        z: list[Tensor] = []
        for name, s in zip(("cexp", "fexp"), self.attribute_scores(x), strict=True):
            # a sum here, a convex mix at inference: the released program trains so, and c_mix thereby calibrates too
            z.append(self.class_scores(s.region + s.channel))
            mal = terms[f"{name}_mal"] = margin_aware_loss(z[-1] - self.b, label, self.seen, cfg.m_seen, cfg.m_true)
            calibration = terms[f"{name}_calibration"] = self_calibration(z[-1], self.seen)
            alignment = terms[f"{name}_alignment"] = distillation_distance(s.region, s.channel)
            total = total + mal + cfg.lambda_cal * calibration + cfg.lambda_rc * alignment
        distillation = terms["expert_distillation"] = distillation_distance(*z)
        return {**terms, "total": total + cfg.lambda_e * distillation}
