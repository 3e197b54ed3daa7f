"""Prepares a model's inputs: chooses images, maps or pooled features, and extracts them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from zslkit.config import FeatureConfig, Input
from zslkit.dataset import Dataset
from zslkit.errors import UserError
from zslkit.features.backbones import Backbone, below_usual, load_backbone
from zslkit.features.extract import first_size, open_store, store_key
from zslkit.features.forward import ImageInputs
from zslkit.features.unreadable import content_of, look
from zslkit.record import AS_GIVEN
from zslkit.training.pretrain import trainval_weights
from zslkit.training.view import ArraySource, InputSource, MapSource, PooledSource
from zslkit.utils import distributed
from zslkit.utils.progress import Reporter

MapShape = tuple[int, int, int]
Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class InputForm:
    """What a model may know of its inputs.

    Attributes:
        feature_shape: Shape of one input.
        map_shape: (D, H, W) of the backbone's maps; None for pooled features (`zslkit.model.Task`).
        build_backbone: Creates the backbone, for a model that trains it; else None.
    """

    kind: Input
    feature_shape: tuple[int, ...]
    map_shape: MapShape | None
    build_backbone: Build | None


def form_of(
    kind: Input, size: tuple[int, int], maps: MapShape, build: Build
) -> tuple[Input, tuple[int, ...], MapShape | None, Build | None]:
    """Values of an `InputForm`, for a backbone that makes `maps` of images of this size."""
    if kind == "image":
        return kind, (3, *size), maps, build
    return (kind, maps, maps, None) if kind == "map" else (kind, maps[:1], None, None)


@dataclass(frozen=True)
class Inputs(InputForm):
    """Inputs of all images of a dataset, and where they come from.

    Attributes:
        source: Inputs by image index.
        fingerprint: Digest of the inputs.
        image_size: (height, width) of the backbone's input in pixels; None without a backbone.
        content: Digest of the images or features that the inputs are made of.
    """

    source: InputSource
    backbone: str
    weights: str
    weights_digest: str
    fingerprint: str
    image_size: tuple[int, int] | None
    content: str = ""

    @property
    def tuned(self) -> bool:
        """Whether the backbone is trained with the model."""
        return self.kind == "image"


def choose_input(
    accepted: tuple[Input, ...], config: FeatureConfig, dataset: Dataset | None, model: str
) -> Input:
    """Choose the kind of input for a model that accepts some, preferred first.

    No dataset stands for one with images.

    Raises:
        UserError: The model does not accept the requested kind, or the dataset lacks it; names what
            to prepare.
    """
    word = config.input
    wanted: list[Input] = [
        k for k in accepted if word in ("auto", k) or (word == "frozen" and k != "image")
    ]
    if config.pooling == "own":
        if "pooled" not in wanted:
            raise UserError(
                f"features.pooling=own makes pooled features, and {model} takes "
                f"{' or '.join(wanted or accepted)} inputs here; leave features.pooling at mean"
            )
        wanted = ["pooled"]
    if not wanted:
        raise UserError(
            f"{model} takes {' or '.join(accepted)} inputs, not {config.input}; "
            "set features.input accordingly"
        )
    if dataset is None or dataset.images is not None:
        return wanted[0]
    held: tuple[Input, ...] = ("pooled", "map")
    has = "feature maps but no images here; put its images below --data-root"
    if dataset.maps is None:
        held = ("pooled",)
        has = "only pooled features here; put its images below --data-root, "
        has += "or import feature maps (zslkit data import)"
    if usable := [k for k in wanted if k in held]:
        return usable[0]
    raise UserError(f"{model} takes {' or '.join(wanted)} inputs, and {dataset.name} has {has}")


def prepare(
    dataset: Dataset,
    config: FeatureConfig,
    kind: Input,
    device: torch.device,
    reporter: Reporter,
    encoder: Backbone | None = None,
    batch: int | None = None,
) -> Inputs:
    """Extract or find the features, or prepare the images, in batches chosen by device.

    Features and maps that came with the dataset are used if it has no images. The model's own
    `encoder` replaces the backbone of the settings and needs images.

    Raises:
        UserError: The caller can correct the cause.
        DataError: Images or stored features are damaged.
    """
    if encoder is not None and dataset.images is None:
        raise UserError(
            f"{encoder.name} has to see the images, "
            f"and {dataset.name} has only features of another network here; "
            "put its images below --data-root"
        )
    if dataset.images is None:
        return _given(dataset, kind)
    content = content_of(dataset.images, reporter, dataset.skipped)
    backbone = encoder or _backbone(dataset, config, device, reporter, content)
    size = first_size(dataset.images, backbone.transform, reporter, dataset.skipped)
    if encoder is None and (small := below_usual(config, size)):
        reporter.note(f"{dataset.name}: {small}")
    if kind == "image":
        with distributed.in_turn():
            look(dataset.images, reporter, dataset.skipped)
        source: InputSource = ImageInputs(dataset.images, backbone.transform)
        maps, fingerprint = backbone.map_shape(*size), store_key(content, backbone, "image")
    else:
        store = open_store(
            *(dataset.name, dataset.images, backbone, config.dtype, device, reporter),
            precision=config.precision,
            skipped=dataset.skipped,
            batch=batch,
            content=content,
        )
        source = (MapSource if kind == "map" else PooledSource)(store)
        maps, fingerprint = store.map_shape, store.fingerprint
    form = form_of(kind, size, maps, backbone.build)
    facts = (backbone.name, backbone.label, backbone.digest)
    return Inputs(*form, source, *facts, fingerprint, size, content)


def _given(dataset: Dataset, kind: Input) -> Inputs:
    """Inputs that came with the dataset; pooled features may be the means of maps."""
    if kind == "pooled" and dataset.features is not None:
        source: InputSource = ArraySource(dataset.features)
        shape, maps = dataset.features.shape[1:], None
        fingerprint = dataset.features_digest
        if not fingerprint:
            content = np.ascontiguousarray(dataset.features).tobytes()
            fingerprint = hashlib.sha256(content).hexdigest()[:16]
    else:
        assert dataset.maps is not None
        maps = dataset.maps.map_shape if kind == "map" else None
        source = (MapSource if kind == "map" else PooledSource)(dataset.maps)
        shape = maps or dataset.maps.map_shape[:1]
        fingerprint = dataset.maps.fingerprint
    facts = (AS_GIVEN, dataset.origin or AS_GIVEN, fingerprint, fingerprint)
    return Inputs(kind, shape, maps, None, source, *facts, None, fingerprint)


def _backbone(
    dataset: Dataset, config: FeatureConfig, device: torch.device, reporter: Reporter, content: str
) -> Backbone:
    if config.weights != "trainval":
        return load_backbone(config)
    start = load_backbone(config.model_copy(update={"weights": "random"}))
    epochs = config.pretrain_epochs
    with distributed.in_turn():  # small and rare: not worth sharing
        weights = trainval_weights(dataset, start, epochs, device, reporter, content)
    return load_backbone(config, weights, f"trained on trainval, {epochs} epochs")
