"""Conditional Wasserstein GANs with gradient penalty on pooled features: the base of f-CLSWGAN,
TF-VAEGAN and CE-GZSL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from zslkit.model import Kept, Task, Trainer

from .generative import Generative, GenerativeConfig, descend, drawn, normal, of_each

SLOPE = 0.2
"""Of the leaky rectifiers below zero, as in all papers of this family."""
MADE_PER_IMAGE = 6
"""Features made of an unseen class for each image of a seen one, where none is set: about as
authors have on CUB."""
MOST_MADE = 1800
"""The authors' number on AWA2, whose classes have 600 images."""
CHUNK = 4096
"""Features that are made at once."""
Batch = tuple[Tensor, Tensor, Tensor]
"""Features (B, D), attributes of their classes (B, A) and class ids (B,)."""
Terms = dict[str, Tensor]
"""Scalars by name, whose sum is minimised."""


class WGANConfig(GenerativeConfig):
    """Settings of the adversarial training."""

    made: int | None = Field(
        300,
        ge=1,
        description="features made of each unseen class; none: six times the mean number of "
        "images of a seen class, 1800 at most",
    )
    epochs: int = Field(60, ge=1, description="of images / batch_size generator steps each")
    batch_size: int = Field(64, ge=1)
    lr: float = Field(1e-4, gt=0, description="of Adam, for generator and critic")
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    hidden: int = Field(4096, ge=1, description="units of each network's hidden layer")
    noise: int | None = Field(
        None, ge=1, description="width of the noise z; none: as many as attributes"
    )
    penalty: float = Field(10.0, ge=0, description="weight of the gradient penalty")
    critic_steps: int = Field(5, ge=1, description="critic steps for each generator step")


class WGAN(Generative):
    """A generator G(z, a) against a critic D(x, a) that is nearly 1-Lipschitz in x (Gulrajani et
    al. 2017).

        critic     min  E D(x~, a) - E D(x, a) + penalty * E (||grad_x^ D(x^, a)||_2 - 1)^2
        generator  min  -E D(x~, a) + what a subclass adds

    x (B, D) real features of the seen classes and a (B, A) their attributes; x~ = G(z, a), z (B, Z)
    standard normal;
    x^ = t x + (1 - t) x~ with t uniform for each image.
    """

    check_settings: ClassVar = {
        "hidden": 128,
        "batch_size": 8,
        "lr": 3e-3,
        "made": 20,
        "classifier.batch_size": 16,
        "classifier.lr": 0.03,
    }

    config: WGANConfig

    def __init__(self, config: WGANConfig, task: Task) -> None:
        super().__init__(config, task)
        self.width, self.n_noise = task.feature_shape[0], config.noise or task.n_attributes
        self.critic = MLP(self.width + task.n_attributes, config.hidden, 1)

    @abstractmethod
    def make(self, z: Tensor, a: Tensor) -> Tensor:
        """Features x~ (B, D) from noise z (B, Z) and attributes a (B, A)."""

    @abstractmethod
    def generator_terms(
        self, x: Tensor, a: Tensor, label: Tensor, random: torch.Generator
    ) -> Terms:
        """The terms of a generator step, whose sum is minimised. x (B, D), a (B, A), label (B,): a
        batch of real images."""

    @abstractmethod
    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """What a generator step trains."""

    def critic_terms(self, x: Tensor, a: Tensor, random: torch.Generator) -> Terms:
        """The terms of a critic step on real features x (B, D) of classes with attributes a (B,
        A)."""
        with torch.no_grad():
            made = self.make(normal(len(x), self.n_noise, random), a)
        real_score, made_score = self.critic(torch.cat([x, made]), a.repeat(2, 1)).chunk(2)
        t = torch.rand(len(x), 1, generator=random, device=random.device)
        return {
            "critic": made_score.mean() - real_score.mean(),
            "penalty": self.config.penalty * gradient_penalty(self.critic, x, made, a, t),
        }

    passes: ClassVar[int] = 1
    """Passes over the images in an epoch."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By name, what steps; the names stand in checkpoints."""
        return {
            "critic": self.adam(self.critic.parameters()),
            "generator": self.adam(self.generator_parameters()),
        }

    def adam(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        return torch.optim.Adam(
            list(parameters), lr=self.config.lr, betas=(self.config.beta1, 0.999)
        )

    def steps_of(self, n: int) -> int:
        """Generator steps of a pass over n images."""
        return max(1, n // self.config.batch_size)

    def places(self, n: int, random: torch.Generator) -> Tensor:
        """Places of a batch among n images."""
        return drawn(n, self.config.batch_size, random)

    def begin(self, epoch: int, number: int, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Told before each pass of an epoch, both counted from 0."""

    def generator_moves(self) -> Sequence[str]:
        """Names of the optimisers that take a step in the generator's turn."""
        return ("generator",)

    def critic_turn(
        self,
        batch: Callable[[], Batch],
        optimizers: dict[str, torch.optim.Optimizer],
        random: torch.Generator,
    ) -> Terms:
        """All critic steps before one of the generator. batch draws one. Returns the terms of the
        last step."""
        terms: Terms = {}
        for _ in range(self.config.critic_steps):
            x, a, _ = batch()
            terms = self.critic_terms(x, a, random)
            descend(optimizers["critic"], sum_of(terms))
        return terms

    def learn(self, x: Tensor, label: Tensor, trainer: Trainer, random: torch.Generator) -> None:
        def batch() -> Batch:
            index = self.places(len(x), random)
            return x[index], self.attributes[label[index]], label[index]

        config, steps = self.config, self.steps_of(len(x))
        optimizers = self.optimizers()
        moving = [optimizers[name] for name in self.generator_moves()]
        moved = {
            id(p)
            for optimizer in moving
            for group in optimizer.param_groups
            for p in group["params"]
        }
        judges = [p for p in self.parameters() if p.requires_grad and id(p) not in moved]
        keeps: dict[str, Kept] = {"model": self, **optimizers, "random": random}
        mend = "lower lr, or raise penalty or critic_steps"
        stage = trainer.stage("gan", config.epochs, keeps, steps=self.passes * steps, mend=mend)
        for epoch in stage:
            for step in range(self.passes * steps):
                if step % steps == 0:
                    self.begin(epoch, step // steps, optimizers)
                terms = self.critic_turn(batch, optimizers, random)
                x_, a, y = batch()
                # The others only judge now: their own gradients would cost as much as the
                # generator's.
                for parameter in judges:
                    parameter.requires_grad_(False)
                made = self.generator_terms(x_, a, y, random)
                stage.step(**terms, **made)
                for optimizer in moving:
                    optimizer.zero_grad(set_to_none=True)
                sum_of(made).backward()  # type: ignore[no-untyped-call]
                for optimizer in moving:
                    optimizer.step()
                for parameter in judges:
                    parameter.requires_grad_(True)

    def lesson(self, x: Tensor, label: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Real features of the seen classes and `made` features of each unseen class, as the
        classifier sees them."""
        made = self.config.made or made_for(len(x), int(self.seen.sum()))
        unseen = of_each((~self.seen).nonzero().flatten(), made)
        parts = [
            self.make(normal(len(y), self.n_noise, random), self.attributes[y])
            for y in torch.split(unseen, CHUNK)
        ]
        inputs = torch.cat([self.space(part) for part in [*torch.split(x, CHUNK), *parts]])
        return inputs, torch.cat([label, unseen])


def made_for(images: int, seen_classes: int) -> int:
    """Features to make of an unseen class, for that many images of all seen classes together."""
    return min(MOST_MADE, max(1, round(MADE_PER_IMAGE * images / seen_classes)))


def gradient_penalty(critic: nn.Module, x: Tensor, made: Tensor, a: Tensor, t: Tensor) -> Tensor:
    """E (||grad_x^ D(x^, a)||_2 - 1)^2 at x^ = t x + (1 - t) x~. x, made (B, D); a (B, A); t (B, 1)
    in 0..1. Returns a scalar."""
    between = (t * x + (1 - t) * made).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, a).sum(), between, create_graph=True)
    off: Tensor = slope.norm(dim=1) - 1
    return off.square().mean()


class MLP(nn.Module):
    """One hidden layer: inputs, side by side, to outputs (B, out); last: what the outputs go
    through."""

    def __init__(self, width: int, hidden: int, out: int, last: nn.Module | None = None) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, out)
        self.last = last or nn.Identity()
        for layer in (self.hidden, self.out):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def features(self, *inputs: Tensor) -> Tensor:
        """The hidden layer (B, hidden) of inputs (B, ...)."""
        return nn.functional.leaky_relu(self.hidden(torch.cat(inputs, dim=1)), SLOPE)

    def outputs(self, features: Tensor) -> Tensor:
        """Outputs (B, out) of the hidden layer (B, hidden)."""
        outputs: Tensor = self.last(self.out(features))
        return outputs

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.outputs(self.features(*inputs))


def sum_of(terms: Terms) -> Tensor:
    """The sum of scalars."""
    return torch.stack(list(terms.values())).sum()
