"""Train one model on one dataset, and score images with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zslkit import ranks
from zslkit.config import Input
from zslkit.dataset import Dataset
from zslkit.errors import TrainingError
from zslkit.memory import in_halves
from zslkit.model import Model, ModelConfig, Task
from zslkit.progress import Reporter
from zslkit.semantics import Semantics
from zslkit.training.loop import Loop, Observer
from zslkit.training.source import Inputs
from zslkit.training.view import Source, View

SCORE_BATCH = 64


class Described(Protocol):
    """What a model may know of a dataset: a Dataset has it, and so has what a run keeps of one."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def seen(self) -> NDArray[np.bool_]: ...
    @property
    def semantics(self) -> Semantics: ...


class Fed(Protocol):
    """What a model may know of its inputs, as Inputs has it."""

    @property
    def kind(self) -> Input: ...
    @property
    def feature_shape(self) -> tuple[int, ...]: ...
    @property
    def map_shape(self) -> tuple[int, int, int] | None: ...
    @property
    def build_backbone(self) -> Callable[[], nn.Module] | None: ...


def make_task(dataset: Described, inputs: Fed, config: ModelConfig) -> Task:
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


def make_model(kind: type[Model], config: ModelConfig, dataset: Described, inputs: Fed, seed: int, device: torch.device) -> Model:
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
) -> float:
    """Train in place on the dataset's trainval and return the seconds it took.

    Raises UserError if a model asks for unlabelled test images and does not declare itself transductive.
    """
    loop = Loop(seed=seed, device=device, reporter=reporter, log=log, name=name, checkpoint_path=checkpoint, observer=observer)
    began = time.monotonic()
    model.fit(View(inputs.source, dataset, type(model)), loop)
    model.eval()
    return loop.seconds or time.monotonic() - began


def score(model: Model, source: Source, index: NDArray[np.int64], device: torch.device) -> NDArray[np.float32]:
    """Uncalibrated scores (N, C) float32 of the images in `index`, in float32 arithmetic.

    Raises what `score_batches` raises.
    """
    scores = np.empty((len(index), model.task.n_classes), dtype=np.float32)
    done = 0
    for batch in score_batches(model, source, index, device):
        scores[done : done + len(batch)] = batch
        done += len(batch)
    return scores


def score_batches(model: Model, source: Source, index: NDArray[np.int64], device: torch.device) -> Iterator[NDArray[np.float32]]:
    """The same, SCORE_BATCH images at a time (B, C), so that a table larger than memory can be written while it is computed.

    Raises TrainingError if the model gives another shape or a value that is not finite.
    """
    model.eval()
    batches = [index[i : i + SCORE_BATCH] for i in range(0, len(index), SCORE_BATCH)]
    if not ranks.several():
        yield from _scored(model, source, batches, device)
        return
    # Every process gets all scores and decides by them alike; whole batches, so that the bits are those of one process.
    for part in ranks.gathered(lambda: list(_scored(model, source, batches[ranks.share(len(batches))], device))):
        yield from part


def _scored(model: Model, source: Source, batches: list[NDArray[np.int64]], device: torch.device) -> Iterator[NDArray[np.float32]]:
    for chosen in batches:
        with torch.inference_mode():
            scores = in_halves(model.scores, source.batch(chosen).to(device)).float().cpu()
        if scores.shape != (len(chosen), model.task.n_classes):
            raise TrainingError(
                f"{type(model).__name__}.scores gave {tuple(scores.shape)} for {len(chosen)} images "
                f"and {model.task.n_classes} classes; "
                "it must give a score for every image and class"
            )
        if not torch.isfinite(scores).all():
            raise TrainingError(f"{type(model).__name__}.scores gave a value that is not finite; was training stable?")
        yield scores.numpy()


def attribute_batches(model: Model, source: Source, index: NDArray[np.int64], device: torch.device) -> Iterator[NDArray[np.float32]] | None:
    """The model's attribute scores of the images in `index`, SCORE_BATCH images at a time (B, A), None if it has none.

    Raises TrainingError, when a batch is asked for, if the model gives another shape or a value that is infinite.
    """
    model.eval()
    kind = type(model)
    # What attention alone would tell is not looked for: it costs a pass with maps over all test images.
    silent = kind.predicted_attributes is Model.predicted_attributes and kind.evidence is Model.evidence
    if silent or _told(model, source, index[:1], device) is None:
        return None
    parts = (index[i : i + SCORE_BATCH] for i in range(0, len(index), SCORE_BATCH))
    return (told for part in parts if (told := _told(model, source, part, device)) is not None)


def _told(model: Model, source: Source, chosen: NDArray[np.int64], device: torch.device) -> NDArray[np.float32] | None:
    with torch.inference_mode():
        told = model.predicted_attributes(source.batch(chosen).to(device))
    if told is None:
        return None
    told = told.float().cpu()
    if told.shape != (len(chosen), model.task.n_attributes) or told.isinf().any():
        fault = f"{tuple(told.shape)}{' with infinite values' if told.isinf().any() else ''}"
        raise TrainingError(
            f"{type(model).__name__}.predicted_attributes gave {fault} for {len(chosen)} images and {model.task.n_attributes} attributes; "
            "it must give a score for every image and attribute, or NaN for an attribute that it does not tell"
        )
    return told.numpy()
