"""A finished run opened without its dataset: its model and its sight, ready for photos from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from zslkit.features.backbones import Backbone, load_backbone
from zslkit.config import Input
from zslkit.errors import DataError, UserError
from zslkit.training.fit import make_model
from zslkit.model import Model
from zslkit.utils.progress import Reporter, Silent
from zslkit.runs.load import plan_of, load_with_dataset, tell_of_source
from zslkit.runs import class_info
from zslkit.runs.class_info import ClassInfo
from zslkit.runs.folders import WEIGHTS, Run, load_run
from zslkit.training.plan import Plan
from zslkit.features.preprocess import Preprocessor
from zslkit.training import weights


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A finished run with its model, which is in evaluation mode on `device`, and the way from photos to what it eats."""

    run: Run
    model: Model
    sight: Preprocessor
    device: torch.device

    @property
    def gamma(self) -> float:
        """What the run's calibration adds to the scores of unseen classes."""
        return self.run.record.protocol.gamma


@dataclass(frozen=True)
class _Feed:
    """What the model is fed with, as zslkit.model.Task says it."""

    kind: Input
    feature_shape: tuple[int, ...]
    map_shape: tuple[int, int, int] | None
    build_backbone: Callable[[], nn.Module] | None


def load_without_dataset(
    folder: Path,
    data_root: str | Path = "data",
    device: torch.device | None = None,
    reporter: Reporter | None = None,
) -> LoadedModel:
    """The finished run in `folder`, opened from what the folder holds and the backbone's weights.

    In two cases the dataset is needed, as `reopen` reads it: the run is older than the file of its classes (zslkit.runs.class_info), or its
    frozen backbone was trained on the dataset's own images. Raises UserError if the run was on features that came with its dataset, or
    if its model or backbone, or a dataset that is needed, is not here, and DataError if a file is damaged or not that of the run.
    """
    device, run = device or torch.device("cpu"), load_run(folder)
    said = run.record.features
    if said.size is None:
        raise UserError(
            f"{run.folder} is a run on {said.input} features that came with {run.record.dataset.name}, so no image can be "
            "turned into what its model eats; give a run on images or maps made of them"
        )
    plan, facts = plan_of(run), class_info.read(run)
    own = plan.features.weights == "trainval" and not said.tuned and plan.encoder() is None
    if facts is None or own:
        return _with_dataset(run, data_root, device, reporter, own)
    tell_of_source(run, plan, reporter or Silent())
    trained = weights.read(run.folder / WEIGHTS)
    model, sight = _made(run, plan, facts, device)
    weights.fill(model, trained, run.folder / WEIGHTS)
    return LoadedModel(run, model.eval(), sight, device)


def _with_dataset(
    run: Run, data_root: str | Path, device: torch.device, reporter: Reporter | None, own: bool
) -> LoadedModel:
    try:
        trained = load_with_dataset(run.folder, data_root, device, reporter)
    except UserError as error:
        why = (
            "its backbone was trained on them"
            if own
            else f"it holds no {class_info.FILE}, as runs of an older zslkit do"
        )
        raise type(error)(
            f"The images of {run.record.dataset.name} are needed to open {run.folder}, since {why}: {error}"
        ) from error
    return LoadedModel(trained.run, trained.model, trained.sight, device)


def _made(
    run: Run, plan: Plan, facts: ClassInfo, device: torch.device
) -> tuple[Model, Preprocessor]:
    """The model, untrained, behind the run's backbone."""
    said, size = run.record.features, run.record.features.size
    assert size is not None
    height, width = (size, size) if isinstance(size, int) else size
    backbone = _backbone(run, plan)
    maps = backbone.map_shape(height, width)
    if said.input == "image":
        feed = _Feed("image", (3, height, width), maps, backbone.build)
    else:
        feed = _Feed(
            said.input,
            maps if said.input == "map" else maps[:1],
            maps if said.input == "map" else None,
            None,
        )
    model = make_model(plan.kind, plan.config, facts, feed, run.record.seed, device)
    return model, Preprocessor(
        run.folder,
        backbone.transform,
        (height, width),
        said.input,
        plan.features,
        backbone.build,
        device,
    )


def _backbone(run: Run, plan: Plan) -> Backbone:
    """The run's backbone. One that was trained with the model has its weights in the run, so no others are looked for."""
    said = run.record.features
    config = plan.features.model_copy(update={"weights": "random"}) if said.tuned else plan.features
    backbone = plan.encoder() or load_backbone(config)
    if not said.tuned and backbone.digest != said.weights_digest:
        raise DataError(
            f"The weights of {backbone.name} here ({backbone.label}, {backbone.digest}) are not those that {run.folder} was made with "
            f"({said.weights}, {said.weights_digest}); bring those back, or run again"
        )
    return backbone
