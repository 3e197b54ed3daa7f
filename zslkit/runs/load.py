"""Opens a finished run with its dataset, its inputs and its trained model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zslkit.config import FeatureConfig, ProtocolConfig, build
from zslkit.config.merge import Settings
from zslkit.dataset import Dataset, Index
from zslkit.datasets.catalog import NamedDataset, find_dataset
from zslkit.errors import DataError, UnknownName, UserError
from zslkit.features.backbones import Transform
from zslkit.features.forward import ImageInputs
from zslkit.features.preprocess import Pixels, Preprocessor
from zslkit.features.unreadable import readable
from zslkit.model import Model
from zslkit.record import Environment, RunRecord
from zslkit.registry import MODELS, is_card
from zslkit.runs.figures import check_kept
from zslkit.runs.folders import WEIGHTS, Run, load_run
from zslkit.runs.source import changed, sources
from zslkit.training import weights
from zslkit.training.fit import make_model
from zslkit.training.inputs import Inputs, prepare
from zslkit.training.plan import Plan
from zslkit.utils.determinism import deterministic, threads
from zslkit.utils.progress import Reporter, Silent

if TYPE_CHECKING:
    from zslkit.readers.image_file import Photo


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A finished run with its dataset and its trained model, which is in evaluation mode."""

    run: Run
    plan: Plan
    dataset: Dataset
    inputs: Inputs
    model: Model
    device: torch.device
    reporter: Reporter = field(default_factory=Silent)

    @property
    def gamma(self) -> float:
        """Calibration: the value added to the scores of unseen classes."""
        return self.run.record.protocol.gamma

    @cached_property
    def preprocessor(self) -> Preprocessor:
        """Turns photos into model inputs; UserError if the run has no backbone."""
        inputs, plan = self.inputs, self.plan
        if self.dataset.images is None:
            raise no_photos(self.run)
        if not inputs.tuned:  # the run's backbone over images, even if its model takes features
            where = self.device, self.reporter, plan.encoder()
            with _as_then(self.run.record.environment):
                inputs = prepare(self.dataset, plan.features, "image", *where)
        assert isinstance(inputs.source, ImageInputs) and inputs.build_backbone is not None
        how = self.inputs.image_size, self.inputs.kind, plan.features
        transform, build = inputs.source.transform, inputs.build_backbone
        return Preprocessor(self.run.folder, transform, *how, build, self.device)

    @property
    def transform(self) -> Transform:
        """Turns a decoded image into the backbone's input; raises as `preprocessor`."""
        return self.preprocessor.transform

    def photos(self, photos: Sequence[Photo]) -> list[Pixels]:
        """Photos (paths or images of Pillow) as the backbone's input: (h, w, 3) uint8, one size.

        Raises:
            UserError: As `preprocessor` and `Preprocessor.photo`.
        """
        return [self.preprocessor.photo(photo) for photo in photos]

    def photos_at(self, index: Index) -> list[Pixels]:
        """The dataset's own images as the backbone's input; raises as `transform`."""
        transform, images = self.transform, self.dataset.images
        assert images is not None
        return [transform.pixels(images.open(i)) for i in index.tolist()]

    def some_test_images(self, count: int) -> Index:
        """Indices of `count` evenly spaced images of each test set; always the same ones."""
        sets = (self.dataset.split.test_seen, self.dataset.split.test_unseen)
        spaced = [np.linspace(0, len(part) - 1, min(count, len(part))) for part in sets]
        return np.concatenate(
            [part[k.astype(np.int64)] for part, k in zip(sets, spaced, strict=True)]
        )


def no_photos(run: Run) -> UserError:
    """The error for photos given to a run on features of unknown images."""
    return UserError(
        f"{run.folder} is a run on {run.record.features.input} features "
        f"that came with {run.record.dataset.name}, so no image can be "
        "turned into what its model eats; give a run on images or maps made of them"
    )


def load_with_dataset(
    folder: Path,
    data_root: str | Path = "data",
    device: torch.device | None = None,
    reporter: Reporter | None = None,
) -> LoadedRun:
    """Open a finished run with its dataset; by default on the CPU.

    Features come from the same cache as the run's and are extracted again if they are missing.
    `data_root` holds the datasets, or is the path of a dataset card.

    Raises:
        UserError: The run, its model or its dataset is missing.
        DataError: A file is damaged, or the data differ from those of the run.
    """
    device, reporter = device or torch.device("cpu"), reporter or Silent()
    run = load_run(folder)
    check_kept(run)
    record = run.record
    trained = weights.read(run.folder / WEIGHTS, record.identity)
    plan = plan_of(run, data_root)
    tell_of_source(run, plan, reporter)
    dataset = _dataset(run, plan.dataset, data_root)
    if plan.features.skip_bad:
        dataset = readable(dataset, reporter)
    _compare(run, dataset.name, dataset.fingerprints())
    with _as_then(record.environment):
        inputs = prepare(
            dataset, plan.features, record.features.input, device, reporter, plan.encoder()
        )
    if record.fingerprints.images:
        _compare(run, dataset.name, {"images": inputs.content})
    if not inputs.tuned:  # a tuned backbone has its weights in the run
        _compare(run, dataset.name, {"features": inputs.fingerprint})
    model = make_model(plan.model_class, plan.config, dataset, inputs, record.seed, device)
    weights.fill(model, trained, run.folder / WEIGHTS)
    return LoadedRun(run, plan, dataset, inputs, model.eval(), device, reporter)


def plan_of(run: Run, data_root: str | Path) -> Plan:
    """The plan of a finished run, with settings of the model's types.

    Its dataset is the card `data_root` or the one that the record names, else a registered one.

    Raises:
        UserError: The model is not installed.
        DataError: The model does not accept the settings.
    """
    model = run.record.model
    try:
        entry, model_class = MODELS.load(f"{model.distribution}:{model.name}")
    except UnknownName as error:
        raise UserError(
            f"{run.folder} was made by the model {model.name} "
            f"of {model.distribution} {model.version}, which is not installed; install it"
        ) from error
    settings = Settings(run.record.used, dict(run.record.origins))
    try:
        features = build(FeatureConfig, settings.section("features"), "features")
        protocol = build(ProtocolConfig, settings.section("protocol"), "protocol")
        config = build(model_class.Config, settings, entry.name)
    except UserError as error:
        raise DataError(
            f"The settings of {run.folder} do not fit {entry.name} of {entry.origin} ({error}); "
            f"install {model.distribution} {model.version}, which made it, or run again"
        ) from error
    card = data_root if is_card(data_root) else _card(run.record)
    named = find_dataset(card or run.record.dataset.name)
    return Plan(entry, model_class, named, features, protocol, config, dict(run.record.origins))


def tell_of_source(run: Run, plan: Plan, reporter: Reporter) -> None:
    """Report if the model's source has changed since the run was made."""
    then = run.record.model.source
    if then and (other := changed(then, sources(plan.entry, plan.model_class))):
        reporter.note(
            f"{other[0]} is not what {run.folder} was made with, "
            f"so {plan.entry.name} may answer otherwise than its record says"
        )


def _dataset(run: Run, named: NamedDataset, root: str | Path) -> Dataset:
    """The run's dataset, with the kind of inputs that the run had."""
    name, features = run.record.dataset.name, run.record.features
    try:
        dataset = named.load(root)
    except UnknownName as error:
        raise UserError(
            f"{run.folder} is a run on {name!r}, which is no registered dataset; "
            "if a card describes it, say --data-root FILE.yaml"
        ) from error
    if features.size is None and (dataset.features is not None or dataset.maps is not None):
        return replace(dataset, images=None)  # the run used the features of the dataset
    if dataset.images is None:
        raise DataError(
            f"{run.folder} is a run on images of {name}, and there are none below {root}; "
            "give their folder with --data-root"
        )
    return dataset


def _card(record: RunRecord) -> Path | None:
    """The dataset card that the record names, None if it is gone."""
    origins = [origin for origin in record.origins.values() if origin.startswith("dataset ")]
    named = (Path(origin.removeprefix("dataset ")) for origin in origins)
    return next((path for path in named if is_card(str(path)) and path.is_file()), None)


def _compare(run: Run, name: str, now: Mapping[str, str]) -> None:
    then = run.record.fingerprints.model_dump()
    other = [part for part in now if now[part] != then[part]]
    if not other:
        return
    prints = ", ".join(f"{part} {then[part]} then, {now[part]} now" for part in other)
    mend = (
        f"images or weights of {run.record.features.backbone} have changed: bring them back"
        if other == ["features"]
        else "give the --data-root of that time"
    )
    raise DataError(
        f"The run {run.folder} differs from {name} as it is here "
        f"in its {' and '.join(other)} ({prints}); {mend}, or run again"
    )


@contextmanager
def _as_then(environment: Environment) -> Iterator[None]:
    """Compute as the run did: weights trained on trainval depend on threads and determinism."""
    with threads(max(1, environment.threads)), deterministic(environment.deterministic):
        yield
