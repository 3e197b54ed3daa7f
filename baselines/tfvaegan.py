"""TF-VAEGAN: a VAE-GAN whose generator hears from an attribute decoder (Narayan et al., ECCV
2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.model import Task, Trainer

from .generative import SoftmaxConfig, descend, distinct, normal
from .vae import Posterior, divergence, l1, sample, weighted_l1
from .wgan import MLP, SLOPE, WGAN, Batch, Terms, WGANConfig, gradient_penalty

RISE, ABOVE, BELOW = 1.1, 1.05, 1.001
"""The penalty's weight is multiplied by RISE if the mean penalty is over ABOVE, and divided by it
if under BELOW."""


class TFVAEGANSoftmaxConfig(SoftmaxConfig):
    """The classifier of the authors' program: a batch is as large as the features made of a
    class."""

    batch_size: int = Field(300, ge=1)


class TFVAEGANConfig(WGANConfig):
    """Settings of TF-VAEGAN; the defaults are those of the authors' program on CUB, whose names are
    kept."""

    classifier: TFVAEGANSoftmaxConfig = TFVAEGANSoftmaxConfig()

    epochs: int = Field(
        300,
        ge=1,
        description="of two passes over the images each: one without feedback, one with it",
    )
    gamma_d: float = Field(10.0, ge=0, description="weight of all terms of the critic")
    gamma_g: float = Field(
        10.0, ge=0, description="weight of the adversarial term beside the VAE's"
    )
    recons_weight: float = Field(0.01, ge=0, description="weight of the attribute decoder's error")
    a1: float = Field(
        1.0, ge=0, description="weight of the feedback in the generator's hidden layer, in training"
    )
    a2: float = Field(1.0, ge=0, description="the same when features are made for the classifier")
    feed_lr: float = Field(1e-5, gt=0, description="of the feedback network's Adam")
    dec_lr: float = Field(1e-4, gt=0, description="of the attribute decoder's Adam")
    freeze_dec: bool = Field(
        False, description="the attribute decoder learns from real features only"
    )
    attribute_error: Literal["released", "paper"] = Field(
        "released", description="released: sum |d|^3 / ||d||; paper: sum |d|"
    )
    adaptive_penalty: bool = Field(
        True,
        description="move the penalty's weight as the program does; false, as in the paper: keep "
        "it",
    )
    start_at_mean: bool = Field(
        False,
        description="ours, for short trainings: made features start at the mean of the real ones",
    )


class TFVAEGAN(WGAN):
    """A generator that is also the decoder of a VAE, with feedback from a decoder Dec of
    attributes; G, E, F and Dec minimise

        KL(E(x, a) || N(0, I)) + BCE(x~, x)        VAE, x~ = G(z, a), z ~ E(x, a); summed over
        dimensions
        - gamma_g * E D(x~, a)                     against the critic
        + recons_weight * R(Dec(x~), a)            attribute decoder; Dec is left out of it with
        freeze_dec

    R(p, a) = mean of sum_i |p_i - a_i|^3 / ||p - a||, and Dec(x) has length 1. Before each such
    step come critic_steps times a step of
    Dec on recons_weight * R(Dec(x), a) of real features, and one of D on

        gamma_d * (E D(x~, a) - E D(x, a) + penalty * E (||grad_x^ D(x^, a)|| - 1)^2),    with z ~
        E(x, a) too

    after which the penalty's weight rises by a tenth if the mean of (||.|| - 1)^2 was over 1.05,
    and falls as much if it was under 1.001.

    With h (B, H) the hidden layer of Dec, a feature with feedback is made twice: x0 = G(z, a), then
    G once more of the same z, with
    a1 * F(h(x0)) (B, H) added to its hidden layer; no gradient passes through h. An epoch passes
    over the images twice, without feedback
    and with it. G (B, Z + A) -> (B, D) ends in a sigmoid, as features are brought to 0..1 (that
    they are then divided by their largest
    number, 1, changes nothing), and F in a leaky rectifier; E has two hidden layers, H and 2 Z
    wide. The classifier sees
    [x; Dec(x); h(x)] (B, D + A + H), real of seen and made of unseen classes, the latter of z ~
    N(0, I), with a2 in place of a1.

    This is the authors' program. The paper has a plain L1 error of the attributes
    (attribute_error=paper) and a fixed weight of the
    penalty (adaptive_penalty=false). Start: all weights N(0, 0.02), biases 0. Adam; betas .9/.999
    for E and beta1/.999 for the others.
    """

    inputs = ("pooled",)
    protocol = "class-inductive"
    citation = (
        "Narayan, Gupta, Khan, Snoek and Shao. "
        "Latent embedding feedback and discriminative features for zero-shot classification. ECCV "
        "2020"
    )
    presets = "presets/tfvaegan"
    check_settings: ClassVar = {
        **WGAN.check_settings,
        "feed_lr": 3e-3,
        "dec_lr": 3e-3,
        "start_at_mean": True,
    }
    passes = 2
    Config = TFVAEGANConfig

    config: TFVAEGANConfig
    penalty: Tensor

    def __init__(self, config: TFVAEGANConfig, task: Task) -> None:
        super().__init__(config, task)
        a, hidden = task.n_attributes, config.hidden
        self.encoder = Encoder(self.width + a, hidden, self.n_noise)
        self.generator = MLP(self.n_noise + a, hidden, self.width, nn.Sigmoid())
        self.decoder = MLP(self.width, hidden, a, UnitLength())
        self.feedback = MLP(hidden, hidden, hidden, nn.LeakyReLU(SLOPE))
        self.classifier = self.softmax(self.width + a + hidden)
        self.register_buffer("penalty", torch.tensor(config.penalty))
        self.with_feedback = False

    def space(self, x: Tensor) -> Tensor:
        h = self.decoder.features(x)
        return torch.cat([x, self.decoder.outputs(h), h], dim=1)

    def make(self, z: Tensor, a: Tensor) -> Tensor:
        return self.made(z, a, self.config.a2)

    def made(self, z: Tensor, a: Tensor, feedback: float | None) -> Tensor:
        """Features (B, D) of z (B, Z) and a (B, A), made once, or once more with the feedback of
        the first ones at that weight."""
        hidden = self.generator.features(z, a)
        if feedback is not None:
            with torch.no_grad():
                h = self.decoder.features(self.generator.outputs(hidden))
            hidden = hidden + feedback * self.feedback(h)
        return self.generator.outputs(hidden)

    def learn(self, x: Tensor, label: Tensor, trainer: Trainer, random: torch.Generator) -> None:
        if self.config.start_at_mean:
            # A sigmoid starts at 1/2 and real channels lie far below: hundreds of steps would go
            # into that alone.
            with torch.no_grad():
                self.generator.out.bias.copy_(torch.logit(x.mean(dim=0), eps=1e-3))
        super().learn(x, label, trainer, random)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        parts = [
            self.encoder,
            self.generator,
            self.feedback,
            *([] if self.config.freeze_dec else [self.decoder]),
        ]
        return chain(*(part.parameters() for part in parts))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        config, betas = self.config, (self.config.beta1, 0.999)
        groups: list[dict[str, Any]] = [
            {"params": list(self.encoder.parameters()), "betas": (0.9, 0.999)},
            {"params": list(self.generator.parameters())},
            {"params": list(self.feedback.parameters()), "lr": config.feed_lr},
        ]
        return {
            "critic": self.adam(self.critic.parameters()),
            "generator": torch.optim.Adam(groups, lr=config.lr, betas=betas),
            "decoder": torch.optim.Adam(self.decoder.parameters(), lr=config.dec_lr, betas=betas),
        }

    def generator_moves(self) -> Sequence[str]:
        return ("generator",) if self.config.freeze_dec else ("generator", "decoder")

    def steps_of(self, n: int) -> int:
        return math.ceil(n / self.config.batch_size)

    def places(self, n: int, random: torch.Generator) -> Tensor:
        return distinct(n, self.config.batch_size, random)

    def begin(self, epoch: int, number: int, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        self.with_feedback = number == 1

    def critic_turn(
        self,
        batch: Callable[[], Batch],
        optimizers: dict[str, torch.optim.Optimizer],
        random: torch.Generator,
    ) -> Terms:
        terms: Terms = {}
        slopes = []
        for _ in range(self.config.critic_steps):
            x, a, _ = batch()
            decoded = self.decoder_term(x, a)
            descend(optimizers["decoder"], decoded)
            t = torch.rand(len(x), 1, generator=random, device=random.device)
            real, made, slope = self.critic_parts(x, a, normal(len(x), self.n_noise, random), t)
            descend(optimizers["critic"], made - real + slope * self.config.gamma_d * self.penalty)
            slopes.append(slope.detach())
            terms = {
                "attributes_real": decoded,
                "critic": made - real,
                "slope": slope,
                "penalty_weight": self.penalty.clone(),
            }
        self.move_penalty(torch.stack(slopes).mean())
        return terms

    def attribute_distance(self, answer: Tensor, a: Tensor) -> Tensor:
        """R of answers and attributes, (B, A) each. Returns a scalar."""
        return (
            weighted_l1(answer, a) if self.config.attribute_error == "released" else l1(answer, a)
        )

    def decoder_term(self, x: Tensor, a: Tensor) -> Tensor:
        """What a step of the attribute decoder minimises on real features x (B, D) with attributes
        a (B, A)."""
        return self.config.recons_weight * self.attribute_distance(self.decoder(x), a)

    def encoded(self, x: Tensor, a: Tensor, noise: Tensor) -> Tensor:
        """z (B, Z) of real features x (B, D) with attributes a (B, A), drawn with that noise (B,
        Z)."""
        return sample(self.encoder(x, a), noise)

    def rebuilt(self, z: Tensor, a: Tensor) -> Tensor:
        """x~ (B, D) as training makes it in this pass, of z (B, Z) and a (B, A)."""
        return self.made(z, a, self.config.a1 if self.with_feedback else None)

    def critic_parts(
        self, x: Tensor, a: Tensor, noise: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """gamma_d * E D(x, a), gamma_d * E D(x~, a) and E (||grad|| - 1)^2 at t x + (1 - t) x~, the
        penalty without a weight.

        Args:
            x: Real features (B, D).
            a: Attributes of their classes (B, A).
            noise: Of the encoder (B, Z).
            t: In 0..1, (B, 1).
        """
        with torch.no_grad():
            made = self.rebuilt(self.encoded(x, a, noise), a)
        real_score, made_score = (
            self.config.gamma_d * self.critic(features, a).mean() for features in (x, made)
        )
        return real_score, made_score, gradient_penalty(self.critic, x, made, a, t)

    def move_penalty(self, slope: Tensor) -> None:
        """The weight of the penalty after a critic's turn with that mean of (||grad|| - 1)^2."""
        if not self.config.adaptive_penalty:
            return
        if slope > ABOVE:
            self.penalty *= RISE
        elif slope < BELOW:
            self.penalty /= RISE

    def generator_terms(
        self, x: Tensor, a: Tensor, label: Tensor, random: torch.Generator
    ) -> Terms:
        return self.vae_terms(x, a, normal(len(x), self.n_noise, random))

    def vae_terms(self, x: Tensor, a: Tensor, noise: Tensor) -> Terms:
        """The terms of a generator step with that noise (B, Z) of the encoder; x (B, D), a (B,
        A)."""
        posterior: Posterior = self.encoder(x, a)
        made = self.rebuilt(sample(posterior, noise), a)
        return {
            "divergence": divergence(posterior),
            "reconstruction": F.binary_cross_entropy(made + 1e-12, x, reduction="sum") / len(x),
            "generator": -self.config.gamma_g * self.critic(made, a).mean(),
            "attributes": self.config.recons_weight
            * self.attribute_distance(self.decoder(made), a),
        }


class Encoder(nn.Module):
    """Features and attributes, side by side, to the mean and the logarithm of the variance, (B, Z)
    each."""

    def __init__(self, width: int, hidden: int, noise: int) -> None:
        super().__init__()
        self.hidden = MLP(width, hidden, 2 * noise, nn.LeakyReLU(SLOPE))
        self.mu, self.log_variance = nn.Linear(2 * noise, noise), nn.Linear(2 * noise, noise)
        for layer in (self.mu, self.log_variance):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, a: Tensor) -> Posterior:
        h = self.hidden(x, a)
        return self.mu(h), self.log_variance(h)


class UnitLength(nn.Module):
    """Rows (B, I) divided by their L2 norm."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1)
