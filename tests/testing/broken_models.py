"""Models that behave as no model may, each in one way, and their twins that may."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import numpy as np
import torch
from sound_models import ClosedForm, Good, Staged
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.functional import whole_batch, whole_sum
from zslkit.model import (
    AttentionMaps,
    GradientConfig,
    Model,
    ModelConfig,
    Task,
    Trainer,
    TrainingView,
)


class ForgetsItsGenerator(Staged):
    """Its stages go on with other batches than they were interrupted at."""

    def kept(self, random: torch.Generator) -> dict[str, Any]:
        return {}


class SeenAlone(Good):
    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x)[:, self.seen] if not self.training else super().scores(x)


class NotANumber(Good):
    def scores(self, x: Tensor) -> Tensor:
        scores = super().scores(x)
        return scores if self.training else scores / 0 * 0


class LooksAtTheBatch(Good):
    def scores(self, x: Tensor) -> Tensor:
        scores = super().scores(x)
        return scores if self.training else scores - scores.mean(dim=0)


class Counts(Good):
    """Keeps count of what it scores."""

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("count", torch.zeros(()))

    def scores(self, x: Tensor) -> Tensor:
        if not self.training:
            self.count.add_(len(x))
        return super().scores(x)


class FlatMaps(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"region": AttentionMaps(super().attention(x)["region"].maps.flatten(2))}


class ClassMaps(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"region": AttentionMaps(super().attention(x)["region"].maps[:, :5])}


class InfiniteMaps(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"region": AttentionMaps(super().attention(x)["region"].maps.log())}


class Nameless(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"": super().attention(x)["region"]}


class Unrepeatable(Good):
    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            self.project.weight.add_(torch.rand(self.project.weight.shape, generator=generator))


class OneSeed(Good):
    """Whatever the seed, it starts and goes the same way."""

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        nn.init.constant_(self.project.weight, 0.1)
        nn.init.constant_(self.project.bias, 0.0)

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.seed = 0
        trainer.train(self, view)


class KeepsBeside(Good):
    """What its training finds is in an attribute that no file holds."""

    shift: Tensor | float = 0.0

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.train(self, view)
        self.shift = torch.linspace(0, 1, self.task.n_classes)

    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x) + self.shift


class NothingToKeep(ClosedForm):
    def __init__(self, config: ModelConfig, task: Task) -> None:
        Model.__init__(self, config, task)

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        self.W = torch.linalg.lstsq(x, self.attributes[label]).solution


class CountsSteps(Good):
    """The weight of its loss hangs on a count that no checkpoint holds."""

    step = 0

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        self.step += 1
        return {name: term / self.step for name, term in super().loss(x, label).items()}


class LearnsTheWrongThing(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        seen = self.seen.nonzero().flatten()
        return super().loss(x, seen[(torch.searchsorted(seen, label) + 1) % len(seen)])


class Backwards(Good):
    """Its loss is right and its steps go uphill."""

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {name: -term for name, term in super().loss(x, label).items()}


class FixedTypes(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        scores = torch.zeros(len(x), self.task.n_classes)
        scores[torch.arange(len(x))] = (
            self.project(x.mean(dim=(2, 3)) if x.ndim == 4 else x) @ self.attributes.T
        )
        return {
            "cross_entropy": F.cross_entropy(
                20 * scores.masked_fill(~self.seen, float("-inf")), label
            )
        }


class AddsUp(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {
            **super().loss(x, label),
            "size": self.scores(x)[:, self.seen].square().sum() / 1000,
        }


class LooksAtTheMean(Good):
    """The term that it should pass through whole_batch, as the next one does."""

    def size(self, x: Tensor) -> Tensor:
        return self.project(x.flatten(2).mean(dim=2) if x.ndim == 4 else x).square().sum(dim=1)

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {**super().loss(x, label), "spread": self.size(x).std()}


class LooksAtTheWholeMean(LooksAtTheMean):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        middle = whole_sum(self.size(x).sum()) / len(
            whole_batch(label)
        )  # a sum that another builds on
        far = whole_sum((self.size(x) - middle).square().sum())
        return {
            **Good.loss(self, x, label),
            "spread": far.sqrt() / 100,
            "again": whole_batch(self.size(x)).std(),
        }


class Idle(Good):
    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.spare = nn.Parameter(torch.zeros(3))


class Peeps(ClosedForm):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        view._source.batch(np.arange(100))  # type: ignore[attr-defined]


class PeepsQuietly(ClosedForm):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        with contextlib.suppress(Exception):
            view._source.batch(np.arange(100))  # type: ignore[attr-defined]


class KnowsUnseenClasses(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(self.scores(x), label)}


class SaysSo(KnowsUnseenClasses):
    protocol = "class-inductive"


class SaysTooMuch(Good):
    protocol = "class-inductive"


class GlobalNumbers(ClosedForm):
    """Draws from torch's generator in fit, which whoever trained before has moved."""

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        self.W.add_(1e-3 * torch.rand(self.W.shape))


class SharedList(Good):
    made: ClassVar[list[str]] = []

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.made.append(task.dataset)


class SharedCount(ClosedForm):
    """The second model is not like the first."""

    made: ClassVar[dict[str, int]] = {}

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        self.made["times"] = 1


class ForTheWholeProcess(ClosedForm):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        np.seterr(invalid="ignore")


class CountsClasses(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        return self.scores(x)


class HalfSilent(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        return self.project(x.mean(dim=(2, 3))).log()


class AgainstTheOthers(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        s = self.project(x.mean(dim=(2, 3)))
        return s - s.mean(dim=0)


class Telling(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        s = self.project(x.mean(dim=(2, 3)))
        s[:, 3] = float("nan")
        return s


class Divided(Good):
    """Its one pass gives other scores than `scores`."""

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return 2 * self.scores(x), self.predicted_attributes(x)


BROKEN: list[tuple[type[Model], str, str]] = [
    (SeenAlone, "scores_shape", "for every image and class"),
    (NotANumber, "scores_shape", "not finite"),
    (Divided, "answers_in_one_pass", "the scores of answers are up to"),
    (LooksAtTheBatch, "scores_of_each_image", "batches of one image|reversed|other images"),
    (Counts, "scoring_leaves_no_trace", "count of 3 differ"),
    (FlatMaps, "attention_maps", r"\(4, 12, 12\), and it takes \(4, 12, 3, 4\)"),
    (ClassMaps, "attention_maps", r"\(4, 5, 3, 4\), and it takes"),
    (InfiniteMaps, "attention_maps", "not finite"),
    (Nameless, "attention_maps", "named ''"),
    (CountsClasses, "predicted_attributes", r"gave \(1, 15\) for 1 images and 12 attributes"),
    (HalfSilent, "predicted_attributes", "and others NaN"),
    (AgainstTheOthers, "predicted_attributes", "move with the others of its batch"),
    (Unrepeatable, "same_seed_same_model", "project.weight"),
    (OneSeed, "other_seed_other_model", "to the last bit"),
    (KeepsBeside, "saves_and_loads", "differ by up to"),
    (NothingToKeep, "saves_and_loads", "no parameter and no buffer"),
    (CountsSteps, "resumes", "ends elsewhere"),
    (
        ForgetsItsGenerator,
        "resumes",
        "interrupted after every epoch of its stages and resumed, it ends elsewhere",
    ),
    (LearnsTheWrongThing, "learns", "3 times chance, 33 % and 50 %"),
    (Backwards, "learns", "3 times chance"),
    (FixedTypes, "bfloat16", "train.precision=bfloat16"),
    (AddsUp, "loss_is_mean", "where 2 processes share them"),
    (LooksAtTheMean, "loss_is_mean", "where 2 processes share them"),
    (Peeps, "never_sees_test_images", "images of the test sets"),
    (PeepsQuietly, "never_sees_test_images", "images of the test sets"),
    (KnowsUnseenClasses, "declared_protocol", "other attributes of the unseen classes"),
    (GlobalNumbers, "no_global_state", "ends elsewhere than alone"),
    (SharedList, "no_global_state", "changes SharedList.made"),
    (SharedCount, "no_global_state", "changes SharedCount.made"),
    (ForTheWholeProcess, "no_global_state", "NumPy's error handling"),
]
"""Model, the check that it fails, and what that says."""
