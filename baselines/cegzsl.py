"""CE-GZSL: made and real features are compared in an embedding that contrasts images and classes
(Han et al., CVPR 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from zslkit.model import Task

from .generative import SoftmaxConfig, distinct, normal
from .pooled import column_of
from .wgan import MLP, SLOPE, WGAN, Batch, Terms, WGANConfig, gradient_penalty, sum_of

FADE = 0.99
"""The learning rates are multiplied by it after every lr_decay_epochs epochs."""
ROOM = 2**26
"""Hidden units of the comparator that are held at once, for all embeddings and classes (256 MiB in
float32)."""


class CEGZSLSoftmaxConfig(SoftmaxConfig):
    """The classifier of the authors' program: a batch is as large as the features made of a
    class."""

    batch_size: int = Field(100, ge=1)


class CEGZSLConfig(WGANConfig):
    """Settings of CE-GZSL; the defaults are those of the authors' command on CUB."""

    classifier: CEGZSLSoftmaxConfig = CEGZSLSoftmaxConfig()

    epochs: int = Field(2000, ge=1)
    lr_decay_epochs: int = Field(
        100,
        ge=1,
        description="epochs after which the learning rates are multiplied by 0.99, again and again",
    )
    batch_size: int = Field(2048, ge=1)
    made: int | None = Field(
        100, ge=1, description="features made of each unseen class; none: as f-CLSWGAN"
    )
    embedding: int = Field(2048, ge=1, description="width of the embedding h")
    projection: int = Field(512, ge=1, description="width of z, in which images are contrasted")
    comparator: int = Field(
        2048,
        ge=1,
        description="hidden units of the network that compares an embedding with a class",
    )
    instance: float = Field(
        0.001,
        ge=0,
        description="weight of the contrast between images in the generator's step; the critic's "
        "has 1",
    )
    classes: float = Field(
        0.001, ge=0, description="weight of the contrast between classes, likewise"
    )
    instance_temperature: float = Field(0.1, gt=0)
    class_temperature: float = Field(0.1, gt=0)
    contrast: Literal["released", "paper"] = Field(
        "released",
        description="what a pair of images of one class is compared with; released: all other "
        "images; paper: those of other classes",
    )
    add_up: bool = Field(
        True,
        description="the comparator's gradients add up over the critic steps of an epoch, as in "
        "the program; false: each step has its own",
    )


class CEGZSL(WGAN):
    """h = E(x) = relu(..) (B, E) is an embedding, z = H(h) (B, P) its projection, of length 1, and
    R(h, a) a network that tells how well
    an embedding and attributes fit. The critic D, E, H and R are trained together, by one Adam, in
    the critic's steps. They minimise

        E D(x~, a) - E D(x, a) + penalty * E (||grad_x^ D(x^, a)|| - 1)^2 + instance(z) + classes(h)

    of real features x alone, and G, which sees them frozen, minimises with made features x~ = G(n,
    a), n noise,

        -E D(x~, a) + instance weight * instance([z~; z]) + class weight * classes(h~)

        instance  mean over images i of the mean over its pairs, j of the same class, of
        -log(exp(z_i . z_j / t) / sum_k exp(z_i . z_k / t))
        classes   mean over images of -log(exp(R(h, a_y) / t') / sum_s exp(R(h, a_s) / t'))

    over k of all images but i, positives too; s are the seen classes, t and t' temperatures. Images
    alone in their class have no pair
    and are left out of the mean. The classifier sees h, real of seen and made of unseen classes.

    This is the authors' program. It clears R's gradients only after an epoch, so that they add up
    over its critic steps
    (add_up=false: cleared after each). In the paper, k in `instance` are the j of the pair and the
    images of other classes
    (contrast=paper). Start: all weights N(0, 0.02), biases 0. Adam, lr times 0.99 after every
    lr_decay_epochs epochs.
    """

    inputs = ("pooled",)
    protocol = "class-inductive"
    citation = (
        "Han, Fu, Chen and Yang. Contrastive embedding for generalized zero-shot learning. "
        "CVPR 2021"
    )
    presets = "presets/cegzsl"
    check_settings: ClassVar = {
        **WGAN.check_settings,
        "embedding": 64,
        "projection": 16,
        "comparator": 32,
    }
    Config = CEGZSLConfig

    config: CEGZSLConfig
    column: Tensor

    def __init__(self, config: CEGZSLConfig, task: Task) -> None:
        super().__init__(config, task)
        self.generator = MLP(self.n_noise + task.n_attributes, config.hidden, self.width, nn.ReLU())
        self.embedder = nn.Linear(self.width, config.embedding)
        self.projector = nn.Linear(config.embedding, config.projection)
        self.comparator = Comparator(config.embedding, task.n_attributes, config.comparator)
        for layer in (self.embedder, self.projector):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.classifier = self.softmax(config.embedding)
        self.register_buffer("column", column_of(self.seen), persistent=False)

    def space(self, x: Tensor) -> Tensor:
        return torch.relu(self.embedder(x))

    def projected(self, h: Tensor) -> Tensor:
        """z (B, P) of embeddings h (B, E)."""
        return F.normalize(self.projector(h), dim=1)

    def make(self, z: Tensor, a: Tensor) -> Tensor:
        made: Tensor = self.generator(z, a)
        return made

    def generator_parameters(self) -> list[nn.Parameter]:
        return list(self.generator.parameters())

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        critic = chain(
            *(
                part.parameters()
                for part in (self.critic, self.embedder, self.projector, self.comparator)
            )
        )
        return {"critic": self.adam(critic), "generator": self.adam(self.generator_parameters())}

    def steps_of(self, n: int) -> int:
        return math.ceil(n / self.config.batch_size)

    def places(self, n: int, random: torch.Generator) -> Tensor:
        return distinct(n, self.config.batch_size, random)

    def begin(self, epoch: int, number: int, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        self.comparator.zero_grad(set_to_none=True)
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.lr * FADE ** (epoch // self.config.lr_decay_epochs)

    def critic_turn(
        self,
        batch: Callable[[], Batch],
        optimizers: dict[str, torch.optim.Optimizer],
        random: torch.Generator,
    ) -> Terms:
        terms: Terms = {}
        for _ in range(self.config.critic_steps):
            x, a, label = batch()
            noise = normal(len(x), self.n_noise, random)
            t = torch.rand(len(x), 1, generator=random, device=random.device)
            terms = self.real_terms(x, a, label, noise, t)
            self.clear()
            sum_of(terms).backward()  # type: ignore[no-untyped-call]
            optimizers["critic"].step()
        return terms

    def clear(self) -> None:
        """Clear the gradients of what a critic step trains; the comparator's stay unless add_up is
        off."""
        for part in (
            self.critic,
            self.embedder,
            self.projector,
            *([] if self.config.add_up else [self.comparator]),
        ):
            part.zero_grad(set_to_none=True)

    def real_terms(self, x: Tensor, a: Tensor, label: Tensor, noise: Tensor, t: Tensor) -> Terms:
        """The terms of a critic step.

        Args:
            x: Real features (B, D).
            a: Attributes of their classes (B, A).
            label: Their class ids (B,).
            noise: Of the made features (B, Z).
            t: In 0..1, (B, 1), where between real and made features the gradient is held to length
                1.
        """
        with torch.no_grad():
            made = self.make(noise, a)
        h = self.space(x)
        return {
            "critic_made": self.critic(made, a).mean(),
            "critic_real": -self.critic(x, a).mean(),
            "penalty": self.config.penalty * gradient_penalty(self.critic, x, made, a, t),
            "instance_real": self.instances(self.projected(h), label),
            "class_real": self.fits(h, label),
        }

    def generator_terms(
        self, x: Tensor, a: Tensor, label: Tensor, random: torch.Generator
    ) -> Terms:
        return self.made_terms(x, a, label, normal(len(x), self.n_noise, random))

    def made_terms(self, x: Tensor, a: Tensor, label: Tensor, noise: Tensor) -> Terms:
        """The terms of a generator step, for real features x (B, D) beside made ones of that noise
        (B, Z)."""
        made = self.make(noise, a)
        h = self.space(made)
        with torch.no_grad():
            real = self.projected(self.space(x))
        return {
            "generator": -self.critic(made, a).mean(),
            "instance_made": self.config.instance
            * self.instances(torch.cat([self.projected(h), real]), label.repeat(2)),
            "class_made": self.config.classes * self.fits(h, label),
        }

    def instances(self, z: Tensor, label: Tensor) -> Tensor:
        """The contrast between images z (B, P) of classes (B,), a scalar."""
        contrast = instance_contrast if self.config.contrast == "released" else pair_contrast
        return contrast(z, label, self.config.instance_temperature)

    def fits(self, h: Tensor, label: Tensor) -> Tensor:
        """The contrast between classes of embeddings h (B, E), a scalar."""
        return F.cross_entropy(self.scaled_fits(h), self.column[label])

    def scaled_fits(self, h: Tensor) -> Tensor:
        """R(h, a_s) / t' (B, S) of embeddings h (B, E) and the seen classes."""
        fits: Tensor = (
            self.comparator(h, self.attributes[self.seen]) / self.config.class_temperature
        )
        return fits


class Comparator(nn.Module):
    """R(h, a) = w . leaky(W [h; a] + b) + c, for every embedding with every class. W is held in two
    parts, W_h and W_a."""

    def __init__(self, embedding: int, attributes: int, hidden: int) -> None:
        super().__init__()
        self.of_h, self.of_a = (
            nn.Linear(embedding, hidden),
            nn.Linear(attributes, hidden, bias=False),
        )
        self.out = nn.Linear(hidden, 1)
        for layer in (self.of_h, self.of_a, self.out):
            nn.init.normal_(layer.weight, std=0.02)
        for layer in (self.of_h, self.out):
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor, a: Tensor) -> Tensor:
        """R (B, K) of embeddings h (B, E) and attributes a (K, A)."""
        of_h, of_a = self.of_h(h), self.of_a(a)
        rows = max(1, ROOM // of_a.numel())
        if len(h) <= rows:
            return self.compared(of_h, of_a)
        # All hidden units (B, K, H) of the program's batches are gigabytes: they are made in parts,
        # and once more on the way back.
        return torch.cat(
            [
                checkpoint(self.compared, part, of_a, use_reentrant=False)
                for part in of_h.split(rows)
            ]
        )

    def compared(self, of_h: Tensor, of_a: Tensor) -> Tensor:
        fits: Tensor = self.out(F.leaky_relu(of_h.unsqueeze(1) + of_a, SLOPE)).squeeze(2)
        return fits


def instance_contrast(z: Tensor, label: Tensor, temperature: float) -> Tensor:
    """-log(e_ij / sum_k e_ik), e = exp(z_i . z_j / t), averaged over pairs j != i of i's class,
    then over i; k runs over all but i.

    z (B, P) of unit length; label (B,). Returns a scalar, 0 if no two images share a class.
    """
    likeness = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    pairs = (label.unsqueeze(1) == label) & ~itself
    if not pairs.any():
        return z.sum() * 0
    losses = likeness.masked_fill(itself, float("-inf")).logsumexp(dim=1, keepdim=True) - likeness
    counts = pairs.sum(dim=1)
    of_each = losses.masked_fill(~pairs, 0.0).sum(dim=1)[counts > 0] / counts[counts > 0]
    return of_each.mean()


def pair_contrast(z: Tensor, label: Tensor, temperature: float) -> Tensor:
    """-log(e_ij / (e_ij + sum_k e_ik)), e = exp(z_i . z_j / t), averaged over pairs i != j of one
    class; k runs over other classes.

    z (B, P) of unit length; label (B,). Returns a scalar, 0 if no two images share a class.
    """
    likeness = z @ z.T / temperature
    same = label.unsqueeze(1) == label
    others = likeness.masked_fill(same, float("-inf")).logsumexp(dim=1, keepdim=True)
    pairs = same & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    # log(1 + sum_k e_ik / e_ij), which does not overflow; an image without another class beside it
    # gives 0.
    losses = F.softplus(others - likeness).masked_fill(~pairs, 0.0)
    return losses.sum() / pairs.sum().clamp_min(1)
