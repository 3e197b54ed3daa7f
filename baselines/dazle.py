"""DAZLE: dense attribute attention over image regions (Huynh and Elhamifar, CVPR 2020)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F_

from zslkit.errors import UserError
from zslkit.functional import region_attention, seen_bias, self_calibration, unit_regions
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Task

from .attribute_words import Words, attribute_words, words_remarks


class DAZLEConfig(GradientConfig):
    """Settings of DAZLE; defaults are those of the authors' CUB run."""

    lambda_cal: float = Field(0.1, ge=0, description="weight of the self-calibration loss")
    bias: float = Field(
        1.0,
        description=(
            "taken from seen and added to unseen class scores; the cross entropy does not see it"
        ),
    )
    attribute_attention: bool = Field(
        True, description="weigh each attribute's score by sigmoid(V W3 f_i)"
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


class DAZLE(GradientModel):
    """Dense attribute-based attention over unit-length regions F (D, R) of a feature map.

    With attribute word vectors V (A, W) and W1, W2, W3 (W, D), for attribute i:

        A_i = softmax over the R regions of (V W2 F)_i        region attention
        s_i = sum over regions of A_i * (V W1 F)_i            attribute score
        g_i = sigmoid((V W3 f_i)_i),  f_i = F A_i             attribute attention
        z_k = sum_i a_ki g_i s_i -+ bias                      minus if seen, plus if unseen

    Initialisation as in the authors' program: W1 ~ N(0, 1); W2 = W3 = 0, so that regions have equal
    weights and attributes weight 1/2; V = the word vectors, L2-normalised per attribute, and
    trained.
    """

    inputs = ("map", "image")
    protocol = "class-inductive"
    loss_is_mean = True
    citation = (
        "Huynh and Elhamifar. Fine-grained generalized zero-shot learning via dense "
        "attribute-based attention. CVPR 2020"
    )
    presets = "presets/dazle"
    Config = DAZLEConfig

    config: DAZLEConfig
    b: Tensor

    def __init__(self, config: DAZLEConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(
                f"{task.dataset}: dazle looks at regions and needs feature maps (D, H, W); set "
                "features.input=map"
            )
        depth = task.map_shape[0]
        words = attribute_words("dazle", task, config.word_vectors, config.word_dim)
        self.V = nn.Parameter(words)
        self.W1 = nn.Parameter(torch.randn(words.shape[1], depth))
        self.W2 = nn.Parameter(torch.zeros(words.shape[1], depth))
        self.W3 = (
            nn.Parameter(torch.zeros(words.shape[1], depth)) if config.attribute_attention else None
        )
        self.register_buffer("b", seen_bias(self.seen, config.bias), persistent=False)

    def remarks(self) -> tuple[str, ...]:
        return words_remarks(self.task, self.config.word_vectors)

    def scores(self, x: Tensor) -> Tensor:
        return self.answers(x)[0]

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """g_i s_i `(B, A)`, the factors of the class attributes."""
        return self.answers(x)[1]

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores `(B, C)` and their factors `(B, A)`."""
        s, _ = self.attribute_scores(unit_regions(self.embed(x)))
        return s @ self.attributes.T + self.b, s

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Cross entropy on unbiased scores, and weighted self-calibration on biased ones."""
        z = self.scores(x)
        return {
            "cross_entropy": F_.cross_entropy(z - self.b, label),
            "calibration": self.config.lambda_cal * self_calibration(z, self.seen),
        }

    def attribute_scores(self, F: Tensor) -> tuple[Tensor, Tensor]:
        """Attribute scores and region attention.

        Args:
            F: `(B, D, R)`, regions of unit length.

        Returns:
            g_i * s_i `(B, A)`, or s_i without attribute attention, and A `(B, A, R)`.
        """
        V = F_.normalize(self.V, dim=1) if self.config.normalise_V else self.V
        s, attention = region_attention(F, V @ self.W1, V @ self.W2)
        if self.W3 is None:
            return s, attention
        # V W3 f_i = sum_r A_ir (V W3 F)_ir, which avoids the attended features f (B, A, D).
        importance = F_.linear(F.mT, V @ self.W3)  # (B, R, A)
        gate = torch.sigmoid((importance * attention.mT).sum(dim=1))
        return gate * s, attention

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """Region attention of each attribute; maps sum to 1 over positions."""
        F = self.embed(x)
        s, attention = self.attribute_scores(unit_regions(F))
        return {"region": AttentionMaps(attention.reshape(len(F), -1, *F.shape[2:]), s)}
