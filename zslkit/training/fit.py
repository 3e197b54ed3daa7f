"""Creates one model for one dataset and trains it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from zslkit.dataset import Dataset
from zslkit.model import GradientModel, Model, ModelConfig, Task
from zslkit.semantics import Semantics
from zslkit.training.inputs import InputForm, Inputs
from zslkit.training.loop import Loop, Observer
from zslkit.training.view import View
from zslkit.training.withheld import Withheld, withheld


class DatasetSpec(Protocol):
    """Facts of a dataset that a model may use; a `Dataset` and a run's `ClassInfo` have them."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def seen(self) -> NDArray[np.bool_]: ...
    @property
    def semantics(self) -> Semantics: ...


def make_task(dataset: DatasetSpec, inputs: InputForm, config: ModelConfig) -> Task:
    """Everything that a model may know of the dataset before training."""
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
    model_class: type[Model],
    config: ModelConfig,
    dataset: DatasetSpec,
    inputs: InputForm,
    seed: int,
    device: torch.device,
) -> Model:
    """Create the untrained model; its initial weights depend on the seed alone."""
    torch.manual_seed(seed)
    return model_class(config, make_task(dataset, inputs, config)).to(device)


def fit(
    model: Model, dataset: Dataset, inputs: Inputs, loop: Loop, withholds: bool = True
) -> float:
    """Train a model in place on the trainval images of a dataset or fold; returns the seconds.

    `withholds` keeps the test images from the model's code (`zslkit.training.withheld`).

    Raises:
        UserError: The model asks for unlabelled test images without declaring itself transductive.
        ModelFault: The model reaches for images that it is not given.
    """
    began, model_class = time.monotonic(), type(model)
    unlabelled = model_class.protocol == "transductive"
    holding = (
        withheld(model_class.__name__, dataset, [inputs.source], unlabelled=unlabelled)
        if withholds
        else nullcontext()
    )
    with holding as held:
        if loop._observer is not None and held is not None:
            loop._observer = _OpeningObserver(loop._observer, held)
        model.fit(View(inputs.source, dataset, model_class), loop)
    model.eval()
    return loop.seconds or time.monotonic() - began


class _OpeningObserver:
    """An observer that has access to the withheld images."""

    def __init__(self, observer: Observer, held: Withheld) -> None:
        self.history = observer.history
        self._observer, self._held = observer, held

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        with self._held.opened():
            return self._observer.after_epoch(epoch, model)
