"""f-CLSWGAN: features from attributes by a Wasserstein GAN (Xian et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.model import Task, Trainer

from .generative import SoftmaxConfig, normal, train_softmax, zeroed
from .pooled import column_of
from .wgan import MLP, WGAN, WGANConfig


class FCLSWGANConfig(WGANConfig):
    """Settings of f-CLSWGAN."""

    beta: float = Field(
        0.01,
        ge=0,
        description="weight of the cross entropy of made features under the seen-class softmax",
    )
    seen_classifier: SoftmaxConfig = Field(
        SoftmaxConfig(), description="the softmax over seen classes, trained first and then frozen"
    )


class FCLSWGAN(WGAN):
    """The generator minimises -E D(x~, a) - beta * E log P(y | x~; theta) for x~ = G(z, a).

    P is a softmax over the seen classes, trained on real features first and then frozen; it keeps
    generated features of different classes apart. G (B, Z + A) -> (B, D) ends in a rectifier, since
    features scaled to 0..1 are not negative; D (B, D + A) -> (B, 1). The final classifier is
    trained on x itself: real features of seen classes, generated ones of unseen classes.
    """

    inputs = ("pooled",)
    protocol = "class-inductive"
    citation = (
        "Xian, Lorenz, Schiele and Akata. Feature generating networks for zero-shot "
        "learning. CVPR 2018"
    )
    presets = "presets/fclswgan"
    check_settings: ClassVar = {**WGAN.check_settings, "seen_classifier.lr": 0.03}
    Config = FCLSWGANConfig

    config: FCLSWGANConfig
    column: Tensor

    def __init__(self, config: FCLSWGANConfig, task: Task) -> None:
        super().__init__(config, task)
        self.generator = MLP(self.n_noise + task.n_attributes, config.hidden, self.width, nn.ReLU())
        self.seen_classifier = zeroed(nn.Linear(self.width, int(self.seen.sum())))
        self.classifier = self.softmax(self.width)
        self.register_buffer("column", column_of(self.seen), persistent=False)

    def learn(self, x: Tensor, label: Tensor, trainer: Trainer, random: torch.Generator) -> None:
        train_softmax(
            self.seen_classifier,
            x,
            self.column[label],
            self.config.seen_classifier,
            trainer,
            random,
            "seen-classifier",
        )
        self.seen_classifier.requires_grad_(False)
        super().learn(x, label, trainer, random)

    def make(self, z: Tensor, a: Tensor) -> Tensor:
        made: Tensor = self.generator(z, a)
        return made

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        return self.generator.parameters()

    def generator_terms(
        self, x: Tensor, a: Tensor, label: Tensor, random: torch.Generator
    ) -> dict[str, Tensor]:
        made = self.make(normal(len(x), self.n_noise, random), a)
        return {
            "generator": -self.critic(made, a).mean(),
            "classification": self.config.beta
            * F.cross_entropy(self.seen_classifier(made), self.column[label]),
        }
