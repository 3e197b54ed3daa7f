"""CE-GZSL: made and real features are compared in an embedding that contrasts images and classes (Han et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.model import Task

from .generative import normal
from .pooled import column_of
from .wgan import MLP, SLOPE, WGAN, WGANConfig


class CEGZSLConfig(WGANConfig):
    """Settings of CE-GZSL."""

    embedding: int = Field(2048, ge=1, description="width of the embedding h")
    projection: int = Field(512, ge=1, description="width of z, in which images are contrasted")
    comparator: int = Field(
        2048,
        ge=1,
        description="hidden units of the network that compares an embedding with a class",
    )
    instance: float = Field(0.001, ge=0, description="weight of the contrast between images")
    classes: float = Field(0.001, ge=0, description="weight of the contrast between classes")
    instance_temperature: float = Field(0.1, gt=0)
    class_temperature: float = Field(0.1, gt=0)


class CEGZSL(WGAN):
    """Beside -E D(x~, a), the generator step minimises, on real features x and on made ones x~ = G(z, a) alike,

        instance * mean over pairs i, j of one class of -log(exp(z_i . z_j / t) / (exp(z_i . z_j / t) + sum_k exp(z_i . z_k / t)))
        classes  * mean over images of -log(exp(R(h, a_y) / t') / sum_s exp(R(h, a_s) / t'))

    over k of other classes than i in the batch and s of the seen classes; t and t' are temperatures. h = E(x) (B, E) is an embedding,
    z = H(h) (B, P) its projection to unit length, R(h, a) a network that tells how well an embedding and attributes fit. G, E, H and R
    are trained together, for which the weights matter to G alone, since Adam takes the scale of the others' gradients away. The
    classifier sees h, real of seen and made of unseen classes.
    """

    inputs = ("pooled",)
    protocol = "class-inductive"
    citation = "Han, Fu, Chen and Yang. Contrastive embedding for generalized zero-shot learning. CVPR 2021"
    presets = "presets/cegzsl"
    check_settings = {**WGAN.check_settings, "embedding": 64, "projection": 16, "comparator": 32}  # noqa: RUF012
    Config = CEGZSLConfig

    config: CEGZSLConfig
    column: Tensor

    def __init__(self, config: CEGZSLConfig, task: Task) -> None:
        super().__init__(config, task)
        self.generator = MLP(self.n_noise + task.n_attributes, config.hidden, self.width, nn.ReLU())
        self.embedding = nn.Linear(self.width, config.embedding)
        self.projection = nn.Linear(config.embedding, config.projection)
        self.comparator = Comparator(config.embedding, task.n_attributes, config.comparator)
        self.classifier = self.softmax(config.embedding)
        self.register_buffer("column", column_of(self.seen), persistent=False)

    def space(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.embedding(x), SLOPE)

    def make(self, z: Tensor, a: Tensor) -> Tensor:
        made: Tensor = self.generator(z, a)
        return made

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        return chain(
            *(
                part.parameters()
                for part in (self.generator, self.embedding, self.projection, self.comparator)
            )
        )

    def generator_terms(
        self, x: Tensor, a: Tensor, label: Tensor, random: torch.Generator
    ) -> dict[str, Tensor]:
        made = self.make(normal(len(x), self.n_noise, random), a)
        terms = {"generator": -self.critic(made, a).mean()}
        for name, features in (("real", x), ("made", made)):
            h = self.space(features)
            z = F.normalize(self.projection(h), dim=1)
            fit = self.comparator(h, self.attributes[self.seen]) / self.config.class_temperature
            terms[f"instance_{name}"] = self.config.instance * instance_contrast(
                z, label, self.config.instance_temperature
            )
            terms[f"class_{name}"] = self.config.classes * F.cross_entropy(fit, self.column[label])
        return terms


class Comparator(nn.Module):
    """R(h, a) = w . leaky(W_h h + W_a a + b), for every embedding with every class."""

    def __init__(self, embedding: int, attributes: int, hidden: int) -> None:
        super().__init__()
        self.of_h, self.of_a = (
            nn.Linear(embedding, hidden),
            nn.Linear(attributes, hidden, bias=False),
        )
        self.out = nn.Linear(hidden, 1)

    def forward(self, h: Tensor, a: Tensor) -> Tensor:
        """R (B, K) of embeddings h (B, E) and attributes a (K, A)."""
        hidden = F.leaky_relu(self.of_h(h).unsqueeze(1) + self.of_a(a), SLOPE)
        fits: Tensor = self.out(hidden).squeeze(2)
        return fits


def instance_contrast(z: Tensor, label: Tensor, temperature: float) -> Tensor:
    """-log(e_ij / (e_ij + sum_k e_ik)), e = exp(z_i . z_j / t), averaged over pairs i != j of one class; k runs over other classes.

    z (B, P) of unit length; label (B,). Returns a scalar, 0 if no two images share a class.
    """
    likeness = z @ z.T / temperature
    same = label.unsqueeze(1) == label
    others = likeness.masked_fill(same, float("-inf")).logsumexp(dim=1, keepdim=True)
    pairs = same & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    # log(1 + sum_k e_ik / e_ij), which does not overflow; an image without another class beside it gives 0.
    losses = F.softplus(others - likeness).masked_fill(~pairs, 0.0)
    return losses.sum() / pairs.sum().clamp_min(1)
