"""MSDN: two attention branches that distil each other (Chen et al., CVPR 2022)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F_

from zslkit.errors import UserError
from zslkit.functional import (
    distillation_distance,
    region_answers,
    region_attention,
    seen_bias,
    self_calibration,
    unit_regions,
)
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Task

from .attribute_words import Words, attribute_words, words_remarks


class MSDNConfig(GradientConfig):
    """Settings of MSDN; defaults are those of the authors' CUB run."""

    lambda_cal: float = Field(
        0.1, ge=0, description="weight of the self-calibration loss of each branch"
    )
    lambda_distill: float = Field(
        0.001,
        ge=0,
        description="weight of semantic distillation between the branches' class scores",
    )
    mix: float = Field(
        0.9, ge=0, le=1, description="share of the attribute-to-visual branch at inference"
    )
    bias: float = Field(
        1.0,
        description=(
            "taken from seen and added to unseen class scores; the cross entropy does not see it"
        ),
    )
    normalise_V: bool = Field(
        False,
        description=(
            "divide each attribute's word vector by its L2 norm at every step, not only "
            "at the start"
        ),
    )
    word_vectors: Words = Field(
        "given", description="what V starts from; random needs none; auto: given, else random"
    )
    word_dim: int = Field(300, ge=1, description="width of V if it starts at random")


class MSDN(GradientModel):
    """Mutual attention of attributes and the unit-length regions F (D, R) of a feature map.

    With attribute word vectors V (A, W), rows v_i, regions f_r, and W1, W2, W3, W4 (W, D):

    Attribute to visual, which is DAZLE without attribute attention:

        A_ir = softmax over the R regions of v_i W2 f_r       attention of attribute i
        s_i = sum over regions of A_ir * (v_i W1 f_r)         attribute score

    Visual to attribute:

        B_ri = softmax over the A attributes of v_i W3 f_r    attention of region r
        t_i = sum over regions of B_ri * (v_i W4 f_r)         attribute score

    Class scores of each branch: z_k = s . a_k -+ bias and y_k = t . a_k -+ bias, minus for seen,
    plus for unseen classes. Loss: for each branch, cross entropy over all classes on the unbiased
    scores and self-calibration on the biased ones; and semantic distillation Dist(z, y). Inference:
    mix * z + (1 - mix) * y.

    These are the equations of the authors' program. The paper has one more projection in the second
    branch, of the attribute-based feature of each region.

    Initialisation: V = the word vectors, L2-normalised per attribute, and trained. W1 ~ N(0, 1); W2
    = W3 = W4 = 0, so that all regions and attributes have equal weights and t starts at 0.
    """

    inputs = ("map", "image")
    protocol = "class-inductive"
    loss_is_mean = True
    citation = (
        "Chen, Hong, Xie, Wang, Peng, Wang, Zhao and You. MSDN: mutually semantic "
        "distillation network for zero-shot learning. CVPR 2022"
    )
    presets = "presets/msdn"
    mixes: ClassVar[dict[str, tuple[float, ...]]] = {
        "mix": (0.0, 0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    }
    Config = MSDNConfig

    config: MSDNConfig
    b: Tensor

    def __init__(self, config: MSDNConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(
                f"{task.dataset}: msdn looks at regions and needs feature maps (D, H, W); set "
                "features.input=map"
            )
        words = attribute_words("msdn", task, config.word_vectors, config.word_dim)
        shape = (words.shape[1], task.map_shape[0])
        self.V = nn.Parameter(words)
        self.W1 = nn.Parameter(torch.randn(shape))
        self.W2 = nn.Parameter(torch.zeros(shape))
        self.W3 = nn.Parameter(torch.zeros(shape))
        self.W4 = nn.Parameter(torch.zeros(shape))
        self.register_buffer("b", seen_bias(self.seen, config.bias), persistent=False)

    def remarks(self) -> tuple[str, ...]:
        return words_remarks(self.task, self.config.word_vectors)

    def scores(self, x: Tensor) -> Tensor:
        return self.answers(x)[0]

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """mix * s + (1 - mix) * t `(B, A)`; both branches' class scores are linear in these."""
        return self.answers(x)[1]

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores `(B, C)` and attribute scores `(B, A)` of both branches, mixed."""
        F, mix = unit_regions(self.embed(x)), self.config.mix
        s, t = self.attribute_to_visual(F)[0], self.visual_to_attribute(F)[0]
        z = mix * self.class_scores(s) + (1 - mix) * self.class_scores(t)
        return z, mix * s + (1 - mix) * t

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Weighted cross entropy and self-calibration of both branches, and their distillation."""
        F = unit_regions(self.embed(x))
        z, y = (
            self.class_scores(self.attribute_to_visual(F)[0]),
            self.class_scores(self.visual_to_attribute(F)[0]),
        )
        return {
            "cross_entropy_visual": F_.cross_entropy(z - self.b, label),
            "cross_entropy_attribute": F_.cross_entropy(y - self.b, label),
            "calibration": self.config.lambda_cal
            * (self_calibration(z, self.seen) + self_calibration(y, self.seen)),
            "distillation": self.config.lambda_distill * distillation_distance(z, y),
        }

    def class_scores(self, s: Tensor) -> Tensor:
        """s . a_k -+ bias `(B, C)` of attribute scores s `(B, A)`."""
        return s @ self.attributes.T + self.b

    def attribute_to_visual(self, F: Tensor) -> tuple[Tensor, Tensor]:
        """s `(B, A)` and A `(B, A, R)` of unit regions F `(B, D, R)`."""
        V = self._words()
        return region_attention(F, V @ self.W1, V @ self.W2)

    def visual_to_attribute(self, F: Tensor) -> tuple[Tensor, Tensor]:
        """t `(B, A)` and B `(B, R, A)` of unit regions F `(B, D, R)`."""
        V = self._words()
        logits, answers = region_answers(F, V @ self.W3, V @ self.W4)
        with torch.autocast(F.device.type, enabled=False):
            attention = logits.softmax(dim=2)
            return (attention * answers).sum(dim=1), attention

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """A with s: maps sum to 1 over positions. B with t: maps sum to 1 over attributes."""
        f = self.embed(x)
        F, size = unit_regions(f), f.shape[2:]
        s, visual = self.attribute_to_visual(F)
        t, attribute = self.visual_to_attribute(F)
        return {
            "attribute to visual": AttentionMaps(visual.reshape(len(f), -1, *size), s),
            "visual to attribute": AttentionMaps(attribute.mT.reshape(len(f), -1, *size), t),
        }

    def _words(self) -> Tensor:
        return F_.normalize(self.V, dim=1) if self.config.normalise_V else self.V
