"""Opens a finished run without its dataset, to predict on photos from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from zslkit.errors import DataError, UserError
from zslkit.features.backbones import Backbone, load_backbone
from zslkit.features.preprocess import Preprocessor
from zslkit.model import Model
from zslkit.runs import class_info
from zslkit.runs.class_info import ClassInfo
from zslkit.runs.figures import check_kept
from zslkit.runs.folders import WEIGHTS, Run, load_run
from zslkit.runs.load import load_with_dataset, no_photos, plan_of, tell_of_source
from zslkit.runs.new_classes import add_classes
from zslkit.training import weights
from zslkit.training.fit import make_model
from zslkit.training.inputs import InputForm, form_of
from zslkit.training.plan import Plan
from zslkit.utils.progress import Reporter, Silent


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A finished run with its model, in evaluation mode, and the preprocessing of photos.

    `added` names the classes that the model knows beyond those of its run.
    """

    run: Run
    model: Model
    preprocessor: Preprocessor
    device: torch.device
    added: tuple[str, ...] = ()

    @property
    def gamma(self) -> float:
        """Calibration: the value added to the scores of unseen classes."""
        return self.run.record.protocol.gamma

    def with_classes(
        self, file: Path, tell: Callable[[str], None] = lambda note: None
    ) -> LoadedModel:
        """The same with further classes; arguments and errors as `zslkit.runs.new_classes`."""
        model, added = add_classes(self.model, self.run.record, file, tell)
        return replace(self, model=model, added=(*self.added, *added))


def load_without_dataset(
    folder: Path,
    data_root: str | Path = "data",
    device: torch.device | None = None,
    reporter: Reporter | None = None,
) -> LoadedModel:
    """Open a finished run from its folder and the backbone's weights; by default on the CPU.

    Two cases need the dataset, as `load_with_dataset` reads it: the run is older than its file of
    classes (`zslkit.runs.class_info`), or its frozen backbone was trained on the dataset's images.

    Raises:
        UserError: The run used features that came with its dataset, or its model, its backbone or
            a needed dataset is missing.
        DataError: A file is damaged or does not belong to the run.
    """
    device, run = device or torch.device("cpu"), load_run(folder)
    check_kept(run)
    features = run.record.features
    if features.size is None:
        raise no_photos(run)
    plan, facts = plan_of(run, data_root), class_info.read(run)
    needs_images = (
        plan.features.weights == "trainval" and not features.tuned and plan.encoder() is None
    )
    if facts is None or needs_images:
        return _with_dataset(run, data_root, device, reporter, needs_images)
    tell_of_source(run, plan, reporter or Silent())
    trained = weights.read(run.folder / WEIGHTS, run.record.identity)
    model, preprocessor = _made(run, plan, facts, device)
    weights.fill(model, trained, run.folder / WEIGHTS)
    return LoadedModel(run, model.eval(), preprocessor, device)


def _with_dataset(
    run: Run,
    data_root: str | Path,
    device: torch.device,
    reporter: Reporter | None,
    needs_images: bool,
) -> LoadedModel:
    try:
        trained = load_with_dataset(run.folder, data_root, device, reporter)
    except UserError as error:
        why = (
            "its backbone was trained on them"
            if needs_images
            else f"it holds no {class_info.FILE}, as runs of an older zslkit do"
        )
        raise type(error)(
            f"The images of {run.record.dataset.name} are needed to open {run.folder}, "
            f"since {why}: {error}"
        ) from error
    return LoadedModel(trained.run, trained.model, trained.preprocessor, device)


def _made(
    run: Run, plan: Plan, facts: ClassInfo, device: torch.device
) -> tuple[Model, Preprocessor]:
    """The untrained model and the preprocessing with the run's backbone."""
    features, size = run.record.features, run.record.features.size
    assert size is not None
    height, width = (size, size) if isinstance(size, int) else size
    backbone = _backbone(run, plan)
    maps = backbone.map_shape(height, width)
    form = InputForm(*form_of(features.input, (height, width), maps, backbone.build))
    model = make_model(plan.model_class, plan.config, facts, form, run.record.seed, device)
    how = (height, width), features.input, plan.features
    return model, Preprocessor(run.folder, backbone.transform, *how, backbone.build, device)


def _backbone(run: Run, plan: Plan) -> Backbone:
    """The run's backbone; without pretrained weights if the run holds tuned ones."""
    features = run.record.features
    config = (
        plan.features.model_copy(update={"weights": "random"}) if features.tuned else plan.features
    )
    backbone = plan.encoder() or load_backbone(config)
    if not features.tuned and backbone.digest != features.weights_digest:
        raise DataError(
            f"The weights of {backbone.name} here ({backbone.label}, {backbone.digest}) "
            f"are not those that {run.folder} was made with "
            f"({features.weights}, {features.weights_digest}); bring those back, or run again"
        )
    return backbone
