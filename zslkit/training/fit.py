"""Make and train one model on one dataset."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zslkit.config import Input
from zslkit.dataset import Dataset
from zslkit.model import GradientModel, Model, ModelConfig, Task
from zslkit.semantics import Semantics
from zslkit.training.inputs import Inputs
from zslkit.training.loop import Loop, Observer
from zslkit.training.scoring import attribute_batches as attribute_batches
from zslkit.training.scoring import score as score
from zslkit.training.view import View
from zslkit.training.withheld import Withheld, withheld
from zslkit.utils.progress import Reporter


class DatasetSpec(Protocol):
    """What a model may know of a dataset: a Dataset has it, and so has what a run keeps of one."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def seen(self) -> NDArray[np.bool_]: ...
    @property
    def semantics(self) -> Semantics: ...


class InputSpec(Protocol):
    """What a model may know of its inputs, as Inputs has it."""

    @property
    def kind(self) -> Input: ...
    @property
    def feature_shape(self) -> tuple[int, ...]: ...
    @property
    def map_shape(self) -> tuple[int, int, int] | None: ...
    @property
    def build_backbone(self) -> Callable[[], nn.Module] | None: ...


def make_task(dataset: DatasetSpec, inputs: InputSpec, config: ModelConfig) -> Task:
    """What a model may know of the dataset before training."""
    semantics = dataset.semantics
    return Task(
        dataset=dataset.name,
        classes=dataset.classes,
        seen=dataset.seen,
        attributes=semantics.normalised(config.attributes),
        attribute_names=semantics.names,
        input=inputs.kind,
        feature_shape=inputs.feature_shape,
        map_shape=inputs.map_shape,
        groups=semantics.groups,
        word_vectors=semantics.word_vectors,
        build_backbone=inputs.build_backbone,
    )


def make_model(
    kind: type[Model],
    config: ModelConfig,
    dataset: DatasetSpec,
    inputs: InputSpec,
    seed: int,
    device: torch.device,
) -> Model:
    """The untrained model; its random start depends on the seed alone."""
    torch.manual_seed(seed)
    return kind(config, make_task(dataset, inputs, config)).to(device)


def fit(
    model: Model,
    dataset: Dataset,
    inputs: Inputs,
    *,
    seed: int,
    device: torch.device,
    reporter: Reporter,
    log: Callable[..., None],
    name: str,
    checkpoint: Path | None = None,
    observer: Observer | None = None,
    withholds: bool = True,
) -> float:
    """Train in place on the dataset's trainval and return the seconds it took.

    withholds: nothing of the test images can be had from the dataset and the inputs while the model trains; see zslkit.training.withheld.

    Raises UserError if a model asks for unlabelled test images and does not declare itself transductive, ModelFault if it goes for
    images that it is not given.
    """
    began, kind = time.monotonic(), type(model)
    unlabelled = kind.protocol == "transductive"
    holding = (
        withheld(kind.__name__, dataset, [inputs.source], unlabelled=unlabelled)
        if withholds
        else nullcontext()
    )
    with holding as held:
        if observer is not None and held is not None:
            observer = _Looking(observer, held)
        loop = Loop(
            seed=seed,
            device=device,
            reporter=reporter,
            log=log,
            name=name,
            checkpoint_path=checkpoint,
            observer=observer,
        )
        model.fit(View(inputs.source, dataset, kind), loop)
    model.eval()
    return loop.seconds or time.monotonic() - began


class _Looking:
    """An observer that may look at what the training may not."""

    def __init__(self, observer: Observer, held: Withheld) -> None:
        self.history = observer.history
        self._observer, self._held = observer, held

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        with self._held.opened():
            return self._observer.after_epoch(epoch, model)
