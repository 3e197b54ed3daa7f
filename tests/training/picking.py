"""Models whose best settings, epoch and gamma are known, and the workshop that picks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from zslkit.config import FeatureConfig, ProtocolConfig
from zslkit.dataset import Dataset, Index
from zslkit.datasets.catalog import find_dataset
from zslkit.model import (
    GradientConfig,
    GradientModel,
    Model,
    ModelConfig,
    Task,
    Trainer,
    TrainingView,
)
from zslkit.registry import Entry
from zslkit.semantics import Semantics
from zslkit.training import selection
from zslkit.training.inputs import Inputs
from zslkit.training.plan import Plan
from zslkit.training.selection import ValidationContext
from zslkit.utils.progress import Silent


@dataclass(frozen=True)
class Guarded:
    """Features of the images, which refuses those it must not give."""

    features: np.ndarray
    allowed: frozenset[int]
    given: set[int]

    def batch(self, index: Index) -> Tensor:
        assert set(index.tolist()) <= self.allowed, (
            "an image of a test set was read while something was picked"
        )
        self.given.update(index.tolist())
        return torch.from_numpy(self.features[index])


class HandConfig(ModelConfig):
    quality: float = 1.0
    bias: float = 0.0
    mix: float = 0.5


class ByHand(Model):
    """Right where quality > 0 and mix = 0.5, once it is calibrated by what seen classes are ahead
    (bias)."""

    inputs = ("pooled",)
    Config = HandConfig

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.log(fits=1)

    def scores(self, x: Tensor) -> Tensor:
        right = self.config.quality * (1 if self.config.mix == 0.5 else -1)
        answer: Tensor = right * x @ self.attributes.T + self.config.bias * self.seen
        return answer


class Searched(ByHand):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"quality": (-1.0, 0.5, 1.0)}


class Mixed(ByHand):
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {"mix": (0.0, 0.25, 0.5, 0.75)}


class Both(ByHand):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "quality": (-1.0, 2.0),
        "attributes": ("l2", "none"),
    }
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {"mix": (0.0, 0.5), "bias": (10.0, 0.0)}


class TickingConfig(GradientConfig):
    speed: float = 1.0


class Ticking(GradientModel):
    """Its one weight grows by `speed` an epoch, and unseen classes are hidden behind seen ones
    unless it is 2."""

    inputs = ("pooled",)
    Config = TickingConfig

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.w = nn.Parameter(torch.zeros(()))

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.attributes.T + 10 * (self.w - 2).abs() * self.seen

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"down": -self.config.speed * self.w}


class Rising(Ticking):
    """Unseen classes are hidden unless the weight is near 2."""

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.attributes.T + 10 * ((self.w - 2).abs() > 0.5) * self.seen


class SpeedSearch(Ticking):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"speed": (0.5, 2.0)}


class StepSearch(Ticking):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"train.lr": (0.5, 2.0)}


TICK = {
    "epochs": 5,
    "steps_per_epoch": 1,
    "optimizer": "sgd",
    "lr": 1.0,
    "momentum": 0.0,
    "weight_decay": 0.0,
}


def shop(
    data: Dataset,
    folder: Path,
    kind: type[Model],
    config: dict[str, Any],
    log: list[dict[str, Any]],
    **protocol: Any,
) -> ValidationContext:
    """A workshop on images whose features are their class's own attribute, behind a guard."""
    table = np.eye(8, dtype=np.float32)
    marked = replace(data, semantics=Semantics(table, tuple("stuvwxyz")))
    source = Guarded(table[data.labels], frozenset(data.split.trainval.tolist()), set())
    inputs = Inputs("pooled", (8,), None, None, source, "", "", "", "", None)
    entry = Entry(
        "mine", "mine:Mine", "mine", "1", EntryPoint("mine", "mine:Mine", "zslkit.models")
    )
    plan = Plan(
        entry,
        kind,
        find_dataset(data.name),
        FeatureConfig(),
        ProtocolConfig.model_validate(protocol),
        kind.Config.model_validate(config),
    )
    folds = [
        selection.Fold(part, marked.fold(0, part), inputs) for part in range(plan.protocol.folds)
    ]
    return ValidationContext(
        plan, folds, 0, torch.device("cpu"), Silent(), lambda **line: log.append(line), folder
    )


def lines(log: list[dict[str, Any]], phase: str, key: str) -> list[Any]:
    return [line[key] for line in log if line["phase"] == phase and key in line]
