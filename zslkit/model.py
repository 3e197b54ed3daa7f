"""The plugin contract: what a model says of itself, what it is given, and what it must answer.

A model is registered by an entry point of the group `zslkit.models` that names its class:

    [project.entry-points."zslkit.models"]
    mine = "my_package.mine:Mine"
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor, nn

from zslkit.config import Config, Input, TrainConfig
from zslkit.errors import UserError
from zslkit.features.backbones import Backbone
from zslkit.semantics import Normalisation
from zslkit.utils import library_state as library_state  # taken before any model is imported

CONTRACT = 1
"""Version of this contract; a model written for another one is refused by name."""

TrainProtocol = Literal["inductive", "class-inductive", "transductive"]


@dataclass(frozen=True)
class Task:
    """What a model knows before training. It holds no image, no label and nothing of the test sets.

    classes: C names. seen (C,) bool. attributes (C, A) float32, normalised as the model's config asks.
    groups: attribute group name -> columns. word_vectors (A, W) float32 or None.
    input: what the model is fed with. feature_shape: (D,), (D, H, W) or (3, height, width) accordingly.
    build_backbone: for input "image", makes the trainable network (B, 3, h, w) -> (B, D, H, W);
    map_shape is then its output (D, H, W), and equals feature_shape for input "map".
    """

    dataset: str
    classes: tuple[str, ...]
    seen: NDArray[np.bool_]
    attributes: NDArray[np.float32]
    attribute_names: tuple[str, ...]
    input: Input
    feature_shape: tuple[int, ...]
    map_shape: tuple[int, int, int] | None = None
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    word_vectors: NDArray[np.float32] | None = None
    build_backbone: Callable[[], nn.Module] | None = None

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def n_attributes(self) -> int:
        return int(self.attributes.shape[1])


@dataclass(frozen=True)
class AttentionMaps:
    """What one part of a model looked at in B images: maps (B, A, H, W), one an attribute, higher is more.

    scores (B, A): the part's attribute scores s, if class k gets z_k = a_k . s from it, so that a_ki * s_i is what
    attribute i gave to class k. channels (B, A, D): how much each attribute listened to each channel, if the part weighs channels.
    """

    maps: Tensor
    scores: Tensor | None = None
    channels: Tensor | None = None


class UnlabelledView(Protocol):
    """The images of both test sets, mixed and without labels: what a transductive model may be trained on beside the view.

    On a validation fold they are the images that the fold holds out. batch(index) gives inputs (B, ...) as float32 on the CPU.
    """

    def __len__(self) -> int: ...

    def batch(self, index: NDArray[np.int64]) -> Tensor: ...

    def everything(self) -> Tensor:
        """All inputs (M, ...) float32 at once."""
        ...


class TrainingView(Protocol):
    """The images of seen classes in trainval: all that a model is ever trained on, unless it declares itself transductive.

    labels (N,) int64, ids into Task.classes. batch(index) gives the inputs (B, ...) as float32 on the CPU.
    """

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def batch(self, index: NDArray[np.int64]) -> Tensor: ...

    def everything(self) -> tuple[Tensor, Tensor]:
        """All inputs (N, ...) float32 and labels (N,) int64 at once, for closed forms on pooled features."""
        ...

    def unlabelled(self) -> UnlabelledView:
        """The unlabelled test images, for models with protocol = "transductive" alone.

        Raises UserError for any other: that a model has seen test images must stand with its figures.
        """
        ...


Kept = nn.Module | torch.optim.Optimizer | torch.Generator
"""What a stage can keep of a training: whatever moves in it has to be among them, so that it goes on where it stopped."""


class Stage(Protocol):
    """Epochs of a training that a model does itself."""

    def __iter__(self) -> Iterator[int]:
        """The epochs (from 0) that are still to do, each to its end: what is kept is filled first and written after them."""
        ...

    def step(self, **terms: float | Tensor) -> None:
        """Tell the terms of a step. Their means over the epoch go to the log, and the progress moves on by one.

        Raises TrainingError that names the first term that is not finite, the epoch, and what the model said to set.
        """
        ...


class Trainer(Protocol):
    """What `fit` gets to work with. Randomness comes from `seed`, tensors live on `device`."""

    seed: int
    device: torch.device

    def train(self, model: GradientModel, view: TrainingView) -> None:
        """The harness's gradient loop over model.loss (sampling, precision, checkpoints, resume, progress).

        Each call is a training of its own; of several, no epoch can be picked on validation.
        """
        ...

    def stage(
        self,
        name: str,
        epochs: int,
        keeps: Mapping[str, Kept],
        *,
        steps: int = 1,
        mend: str = "lower the learning rate",
    ) -> Stage:
        """Optional, for a `fit` of one's own that takes long: epochs that show progress and resume to the bit after an interruption.

            random = torch.Generator(trainer.device).manual_seed(trainer.seed)
            optimizer = torch.optim.Adam(self.net.parameters())
            stage = trainer.stage("net", 50, {"net": self.net, "optimizer": optimizer, "random": random}, steps=10)
            for epoch in stage:
                for _ in range(10):
                    index = torch.randint(len(x), (64,), generator=random, device=trainer.device)
                    loss = self.loss_of(x[index])
                    stage.step(loss=loss)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

        name: of letters, digits, - and _, of its own for every stage of the model; later stages come after it. keeps: all that moves in
        it, by name: modules, optimisers, and the generators that every random number comes from. steps: calls of `step` in an epoch, for
        the progress. mend: what to set when a term is not finite. The loop must not be left early. A stage that was finished before an
        interruption is filled and gives no epoch.
        """
        ...

    def log(self, **values: float) -> None:
        """Append a line to the run's log."""
        ...


class ModelConfig(Config):
    """Base of a model's configuration."""

    attributes: Normalisation = Field(
        "l2",
        description=(
            "class attributes; l2: each class by its L2 norm; none (or original): on the "
            "dataset's own scale"
        ),
    )

    @field_validator("attributes")
    @classmethod
    def _one_spelling(cls, how: Normalisation) -> Normalisation:
        # Two words for one thing would be two runs and two rows of one table.
        return "none" if how == "original" else how


class GradientConfig(ModelConfig):
    """Base of a gradient model's configuration."""

    train: TrainConfig = TrainConfig()


class Model(nn.Module):
    """Base of every model. What is to be kept of a trained model are its parameters and buffers.

    The class attributes below are written as literals: `zslkit models` reads them without importing.
    """

    contract: ClassVar[int] = CONTRACT
    inputs: ClassVar[tuple[Input, ...]] = ("map",)
    """What the model accepts, preferred first."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Of "word_vectors" and "groups", what it cannot do without."""
    protocol: ClassVar[TrainProtocol] = "inductive"
    """inductive: nothing of the unseen classes is used in training. class-inductive: their semantics are. transductive: the unlabelled
    test images are (view.unlabelled()), and mostly their semantics too; such rows stand in tables of their own."""
    citation: ClassVar[str] = ""
    bibtex: ClassVar[str] = ""
    """Optional: the citation as a BibTeX entry, for `zslkit models NAME --bibtex`; without it one is made of `citation`."""
    pretraining_note: ClassVar[str] = ""
    """What a reader must know of data that the model was trained on elsewhere; it stands with every figure of the model."""
    presets: ClassVar[str] = ""
    """Folder of <dataset>.yaml files, relative to the module's own."""
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Grid of config keys, dotted ones too, that --tune searches on validation."""
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    """Grid of config keys that matter only to `scores`, so that --tune needs no retraining for them."""
    Config: ClassVar[type[ModelConfig]] = ModelConfig
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of zslkit.testing that the model is known to fail, by name, each with the reason."""
    check_settings: ClassVar[Mapping[str, Any]] = {}
    """Config values, by dotted key, with which those checks train it where their own short training does not suit it."""

    attributes: Tensor
    seen: Tensor

    def __init__(self, config: Any, task: Task) -> None:
        """config: an instance of this class's Config. Buffers: attributes (C, A), seen (C,) bool."""
        super().__init__()
        self.config, self.task = config, task
        self.register_buffer(
            "attributes", torch.from_numpy(task.attributes.copy()), persistent=False
        )
        self.register_buffer("seen", torch.from_numpy(task.seen.copy()), persistent=False)
        self.backbone = task.build_backbone() if task.build_backbone is not None else None

    @classmethod
    def image_encoder(cls, config: Any) -> Backbone | None:
        """Optional: the frozen network, its weights and its transform, for a model that can only be fed by its own; None: by any.

        config: an instance of this class's Config, which then says what the keys ENCODER_KEYS of `features` say otherwise. The
        harness does the rest: each image passes once into the feature store, and the record names the encoder as the backbone.
        Raises UserError or MissingWeights that says what to give.
        """
        return None

    def embed(self, x: Tensor) -> Tensor:
        """The feature map (B, D, H, W) of images (B, 3, h, w) if the backbone is trained here, else x itself."""
        return self.backbone(x) if self.backbone is not None else x

    @abstractmethod
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Train on the view. Called once, on trainer.device."""

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """Class scores (B, C) of inputs (B, ...) over ALL classes, uncalibrated, higher is likelier.

        Called in evaluation mode without gradients. The score of an image must not depend on its batch.
        """

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """Optional: where each part of the model looks in inputs (B, ...), parts by name in the order they are shown.

        Called as `scores` is. A model that offers nothing leaves it as it is.
        """
        return {}

    def evidence(self, x: Tensor) -> Tensor | None:
        """Optional: attribute scores s (B, A) of inputs (B, ...) such that a_ki * s_i is what attribute i gives to the score of class k.

        Called as `scores` is. By default the sum of the scores of the parts that `attention` tells of; None: the model has none.
        """
        told = [part.scores for part in self.attention(x).values() if part.scores is not None]
        return torch.stack(told).sum(dim=0) if told else None

    def predicted_attributes(self, x: Tensor) -> Tensor | None:
        """Optional: how much each attribute shows in inputs (B, ...), (B, A) in the dataset's order, the higher the likelier.

        On any scale, for only the order of images by one attribute is looked at; a column of NaN for an attribute that the model does
        not tell. Called as `scores` is, for `zslkit evaluate --metrics attribute-AUC-seen,...`.
        By default the `evidence` of a model that defines one; None: it has no attribute scores.
        """
        return self.evidence(x)


class GradientModel(Model):
    """A model trained by gradients: it gives the loss, the harness's loop does the rest."""

    loss_is_mean: ClassVar[bool] = False
    """True: several processes may share a batch, and a device with too little memory for it may take it in parts. Every term of `loss` is
    then a mean over the images it is given, or made of parameters alone, or made with zslkit.functional.whole_batch or whole_sum of what
    the images give. Else one process trains and the others wait, and a batch is always taken whole."""

    @abstractmethod
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Named scalar terms of inputs (B, ...) and class ids (B,).

        The loop minimises "total" if it is among them and only logs the others; else it minimises their sum.
        """

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.train(self, view)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by group name, for models whose parts have learning rates of their own. What is in no group is not trained."""
        return {"all": [p for p in self.parameters() if p.requires_grad]}

    def learning_rate(self, epoch: int, group: str) -> float:
        """Learning rate of a group in an epoch (from 0). At 0 the group is frozen and costs nothing."""
        train: TrainConfig = self.config.train
        return train.lr * train.lr_factor ** (epoch // train.lr_every)


ENCODER_KEYS = ("backbone", "weights", "size", "reduction", "pretrain_epochs")
"""Settings of `features` that say nothing to a model that brings its own image encoder."""


def brings_encoder(kind: type[Model]) -> bool:
    """Whether models of this class may be fed by their own image encoder alone."""
    return next(owner for owner in kind.__mro__ if "image_encoder" in vars(owner)) is not Model


def check_model(name: str, loaded: Any) -> type[Model]:
    """The class itself if it is a model of this contract. Raises UserError that says what is wrong."""
    if not (isinstance(loaded, type) and issubclass(loaded, Model)):
        raise UserError(
            f"{name}: the entry point names {loaded!r}, which is no subclass of zslkit.model.Model"
        )
    if loaded.contract != CONTRACT:
        raise UserError(
            f"{name}: it is written for contract {loaded.contract} and this zslkit speaks "
            f"{CONTRACT}"
        )
    if not loaded.inputs or any(i not in ("pooled", "map", "image") for i in loaded.inputs):
        raise UserError(
            f'{name}: inputs = {loaded.inputs!r}; it takes some of "pooled", "map", "image"'
        )
    return loaded
