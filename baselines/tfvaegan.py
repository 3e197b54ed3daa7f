"""TF-VAEGAN: a VAE-GAN whose generator hears from an attribute decoder (Narayan et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.model import Task, Trainer

from .generative import normal
from .vae import divergence, draw, l1
from .wgan import MLP, WGAN, WGANConfig


class TFVAEGANConfig(WGANConfig):
    """Settings of TF-VAEGAN."""

    alpha: float = Field(10.0, ge=0, description="weight of the adversarial term beside the VAE's")
    beta: float = Field(0.01, ge=0, description="weight of the attribute decoder's L1 error")
    delta: float = Field(
        1.0, ge=0, description="weight of the feedback in the generator's hidden layer"
    )


class TFVAEGAN(WGAN):
    """A generator that is also the decoder of a VAE, with feedback from a decoder Dec of attributes. Minimises

        KL(E(x, a) || N(0, I)) + BCE(G(z_E, a), x)                   VAE, z_E ~ E(x, a); summed over dimensions
        - alpha * E D(x~, a)                                         against the critic, x~ = G(z, a)
        + beta * (|Dec(x) - a|_1 + |Dec(x~) - a|_1)                  attribute decoder

    h (B, H) is the hidden layer of Dec. A feature with feedback is made twice: x~ = G(z, a), then G once more with
    delta * F(h(x~)) (B, H) added to its hidden layer. Half of the generator steps, at random, go without feedback, so that G learns to
    do without; what the critic and the classifier are given is made with it. G (B, Z + A) -> (B, D) ends in a sigmoid, as features are
    brought to 0..1, and starts at their mean. The classifier sees [x; h(x); Dec(x)] (B, D + H + A), real of seen and made of unseen
    classes.
    """

    inputs = ("pooled",)
    protocol = "class-inductive"
    citation = (
        "Narayan, Gupta, Khan, Snoek and Shao. "
        "Latent embedding feedback and discriminative features for zero-shot classification. ECCV 2020"
    )
    presets = "presets/tfvaegan"
    Config = TFVAEGANConfig

    config: TFVAEGANConfig

    def __init__(self, config: TFVAEGANConfig, task: Task) -> None:
        super().__init__(config, task)
        a, hidden = task.n_attributes, config.hidden
        self.encoder = MLP(self.width + a, hidden, 2 * self.n_noise)
        self.generator = MLP(self.n_noise + a, hidden, self.width, nn.Sigmoid())
        self.decoder = MLP(self.width, hidden, a)
        self.feedback = MLP(hidden, hidden, hidden)
        self.classifier = self.softmax(self.width + hidden + a)

    def space(self, x: Tensor) -> Tensor:
        h = self.decoder.features(x)
        return torch.cat([x, h, self.decoder.outputs(h)], dim=1)

    def make(self, z: Tensor, a: Tensor) -> Tensor:
        return self.made(z, a, with_feedback=True)

    def learn(self, x: Tensor, label: Tensor, trainer: Trainer, random: torch.Generator) -> None:
        # A sigmoid starts at 1/2 and real channels lie far below: hundreds of steps would go into that alone.
        with torch.no_grad():
            self.generator.out.bias.copy_(torch.logit(x.mean(dim=0), eps=1e-3))
        super().learn(x, label, trainer, random)

    def made(self, z: Tensor, a: Tensor, with_feedback: bool) -> Tensor:
        """Features (B, D) of z (B, Z) and a (B, A), made once, or once more with the feedback of the first ones."""
        hidden = self.generator.features(z, a)
        x = self.generator.outputs(hidden)
        if with_feedback:
            x = self.generator.outputs(
                hidden + self.config.delta * self.feedback(self.decoder.features(x))
            )
        return x

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        return chain(
            *(
                part.parameters()
                for part in (self.encoder, self.generator, self.decoder, self.feedback)
            )
        )

    def generator_terms(
        self, x: Tensor, a: Tensor, label: Tensor, random: torch.Generator
    ) -> dict[str, Tensor]:
        with_feedback = bool(torch.randint(2, (), generator=random, device=random.device))
        mu, log_variance = self.encoder(x, a).chunk(2, dim=1)
        posterior = mu, log_variance
        rebuilt = self.made(draw(posterior, random), a, with_feedback)
        made = self.made(normal(len(x), self.n_noise, random), a, with_feedback)
        return {
            "divergence": divergence(posterior),
            "reconstruction": F.binary_cross_entropy(rebuilt, x, reduction="sum") / len(x),
            "generator": -self.config.alpha * self.critic(made, a).mean(),
            "attributes": self.config.beta * (l1(self.decoder(x), a) + l1(self.decoder(made), a)),
        }
