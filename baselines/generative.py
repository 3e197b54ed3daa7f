"""Generalized zero-shot learning by made features: the base of f-CLSWGAN, CADA-VAE, TF-VAEGAN and
CE-GZSL.

A model learns to make features of a class from its attributes. Then a softmax over all classes is
trained on real features of the
seen classes and made ones of the unseen classes, and answers alone.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.config import Config
from zslkit.model import Kept, Model, ModelConfig, Task, Trainer, TrainingView

from .pooled import finite_features


class SoftmaxConfig(Config):
    """How a linear softmax classifier is trained: by Adam on shuffled batches, a last one that is
    not full left out."""

    epochs: int = Field(25, ge=1)
    batch_size: int = Field(256, ge=1)
    lr: float = Field(1e-3, gt=0)
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    decay: float = Field(
        0.0, ge=0, description="L2 penalty of its weights, against the mean cross entropy"
    )


class GenerativeConfig(ModelConfig):
    """Settings that all four share."""

    classifier: SoftmaxConfig = SoftmaxConfig()


class UnitRange(nn.Module):
    """Features (B, D) with every channel brought to 0..1 over the training images; other images may
    lie a little outside."""

    low: Tensor
    width: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(channels))
        self.register_buffer("width", torch.ones(channels))

    def measure(self, x: Tensor) -> None:
        """Take the statistics of training images x (N, D)."""
        low, high = x.aminmax(dim=0)
        self.low.copy_(low)
        # A channel that never changes tells nothing: it becomes 0.
        self.width.copy_(torch.where(high > low, high - low, torch.ones_like(low)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.low) / self.width


class Generative(Model):
    """Scores are the logits of a linear softmax over all C classes on `space` of the features, each
    channel brought to 0..1.

    A subclass learns to make features in `learn`, and gives what the softmax is trained on in
    `lesson`. All random numbers of a
    training come from one generator, which every stage keeps.
    """

    config: GenerativeConfig
    classifier: nn.Linear

    def __init__(self, config: GenerativeConfig, task: Task) -> None:
        super().__init__(config, task)
        self.scaling = UnitRange(task.feature_shape[0])

    def softmax(self, width: int) -> nn.Linear:
        """The final classifier of inputs (B, width), from zero: its loss is convex, so that no
        start is better."""
        return zeroed(nn.Linear(width, self.task.n_classes))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Learn to make features, make them, and train the softmax. Raises TrainingError if
        features or a term are not finite."""
        x, label = finite_features(view, type(self).__name__.lower())
        x, label = x.to(trainer.device), label.to(trainer.device)
        self.scaling.measure(x)
        x = self.scaling(x)
        random = torch.Generator(trainer.device).manual_seed(trainer.seed)
        self.learn(x, label, trainer, random)
        with torch.no_grad():
            inputs, target = self.lesson(x, label, random)
        train_softmax(
            self.classifier, inputs, target, self.config.classifier, trainer, random, "classifier"
        )

    def scores(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.space(self.scaling(x)))
        return logits

    def space(self, x: Tensor) -> Tensor:
        """What the classifier sees, (B, E), of scaled features x (B, D)."""
        return x

    @abstractmethod
    def learn(self, x: Tensor, label: Tensor, trainer: Trainer, random: torch.Generator) -> None:
        """Train all but the classifier on scaled features x (N, D) and class ids (N,), in stages
        that keep `random`."""

    @abstractmethod
    def lesson(self, x: Tensor, label: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs (M, E) and class ids (M,) that the classifier is trained on."""


def train_softmax(
    classifier: nn.Linear,
    x: Tensor,
    target: Tensor,
    config: SoftmaxConfig,
    trainer: Trainer,
    random: torch.Generator,
    name: str,
) -> None:
    """Train in place on inputs x (M, E) and targets (M,), as a stage of that name."""
    optimizer = torch.optim.Adam(classifier.parameters(), lr=config.lr, betas=(config.beta1, 0.999))
    size = min(config.batch_size, len(x))
    steps = len(x) // size
    keeps: dict[str, Kept] = {"classifier": classifier, "optimizer": optimizer, "random": random}
    stage = trainer.stage(name, config.epochs, keeps, steps=steps, mend="lower classifier.lr")
    for _ in stage:
        order = torch.randperm(len(x), generator=random, device=random.device)
        for i in range(steps):
            index = order[i * size : (i + 1) * size]
            loss = F.cross_entropy(classifier(x[index]), target[index])
            stage.step(cross_entropy=loss)
            descend(optimizer, loss + config.decay / 2 * classifier.weight.square().sum())


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of a scalar."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def drawn(n: int, batch: int, random: torch.Generator) -> Tensor:
    """Places (batch,) of n images, drawn with replacement."""
    return torch.randint(n, (batch,), generator=random, device=random.device)


def distinct(n: int, batch: int, random: torch.Generator) -> Tensor:
    """Places (batch,) of n images, none twice; all n if there are no more."""
    return torch.randperm(n, generator=random, device=random.device)[:batch]


def normal(rows: int, width: int, random: torch.Generator) -> Tensor:
    """Standard normal numbers (rows, width)."""
    return torch.randn(rows, width, generator=random, device=random.device)


def of_each(classes: Tensor, count: int) -> Tensor:
    """Every class id of classes (K,) `count` times, (K * count,)."""
    return classes.repeat_interleave(count)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer with all its numbers 0."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
