"""The plugin contract: base classes of a model, and what a model receives in training.

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
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from torch import Tensor, nn

from zslkit.config import Config, Input, TrainConfig
from zslkit.config.train import refused_schedule
from zslkit.errors import UserError
from zslkit.features.backbones import Backbone
from zslkit.semantics import Normalisation

# Imported here to record torch's state before any model is imported.
from zslkit.utils import library_state as library_state

CONTRACT = 1
"""Version of this contract; a model of another version is refused with an error."""

TrainProtocol = Literal["inductive", "class-inductive", "transductive"]


@dataclass(frozen=True)
class Task:
    """What a model knows before training: classes, semantics and shapes, but no image and no label.

    Attributes:
        dataset: Registry name of the dataset.
        classes: Names of all C classes.
        seen: `(C,)` bool, True for classes with training images.
        attributes: `(C, A)` float32, normalised as the model's config asks.
        attribute_names: Names of the A attributes.
        input: Input type of the model.
        feature_shape: Shape of one input: `(D,)`, `(D, H, W)` or `(3, height, width)`.
        map_shape: `(D, H, W)` of the backbone's output for input "image"; equals `feature_shape`
            for input "map"; else None.
        groups: Attribute group name -> columns of `attributes`.
        word_vectors: `(A, W)` float32, one word vector per attribute, or None.
        build_backbone: For input "image": makes the network `(B, 3, h, w) -> (B, D, H, W)`.
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
    """Attention of one part of a model for B images.

    Attributes:
        maps: `(B, A, H, W)`, one map per attribute; higher means more attention.
        scores: `(B, A)` attribute scores s, if this part gives class k the score z_k = a_k . s;
            a_ki * s_i is then the contribution of attribute i to class k.
        channels: `(B, A, D)` weight of each channel for each attribute, if the part has any.
    """

    maps: Tensor
    scores: Tensor | None = None
    channels: Tensor | None = None


class UnlabelledView(Protocol):
    """Images of both test sets, mixed and without labels, for transductive models.

    On a validation fold, these are the images that the fold holds out.
    """

    def __len__(self) -> int: ...

    def batch(self, index: NDArray[np.int64]) -> Tensor:
        """Inputs `(B, ...)` float32 on the CPU."""

    def everything(self) -> Tensor:
        """All inputs `(M, ...)` float32 at once."""


class TrainingView(Protocol):
    """Trainval images of the seen classes: all that an inductive model is trained on."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """`(N,)` int64 class ids, as indices into `Task.classes`."""

    def __len__(self) -> int: ...

    def batch(self, index: NDArray[np.int64]) -> Tensor:
        """Inputs `(B, ...)` float32 on the CPU."""

    def everything(self) -> tuple[Tensor, Tensor]:
        """All inputs `(N, ...)` float32 and labels `(N,)` int64 at once, for closed forms."""

    def unlabelled(self) -> UnlabelledView:
        """The unlabelled test images; UserError unless protocol = "transductive"."""


Kept = nn.Module | torch.optim.Optimizer | torch.Generator
"""Objects that a stage checkpoints; others are not restored when a training resumes."""


class Stage(Protocol):
    """Epochs of a training loop that the model writes itself."""

    def __iter__(self) -> Iterator[int]:
        """Remaining epochs, counted from 0. Iterate to the end.

        A resumed stage first restores the objects in `keeps`, which each epoch checkpoints.
        """

    def step(self, **terms: float | Tensor) -> None:
        """Report the terms of one step; the log gets their means over the epoch.

        Raises:
            TrainingError: A term is not finite. The message names the first such term, its epoch
                and step and the `mend` of the stage. On an accelerator terms are read every 50
                steps, so that no step waits for the device, and the error comes then.
        """


class Trainer(Protocol):
    """Services of the harness for `fit`.

    Attributes:
        seed: Seed for every random number of the training.
        device: Device of the model; create tensors here.
    """

    seed: int
    device: torch.device

    def train(self, model: GradientModel, view: TrainingView) -> None:
        """Run the harness's gradient loop over `model.loss`; no best epoch with several calls.

        The loop does sampling, precision, checkpoints, resuming and progress.
        """

    def stage(
        self,
        name: str,
        epochs: int,
        keeps: Mapping[str, Kept],
        *,
        steps: int = 1,
        mend: str = "lower the learning rate",
    ) -> Stage:
        """Optional: epochs of your own training loop, which resumes bit for bit when interrupted.

            random = torch.Generator(trainer.device).manual_seed(trainer.seed)
            optimizer = torch.optim.Adam(self.net.parameters())
            keeps = {"net": self.net, "optimizer": optimizer, "random": random}
            stage = trainer.stage("net", 50, keeps, steps=10)
            for epoch in stage:
                for _ in range(10):
                    index = torch.randint(len(x), (64,), generator=random, device=trainer.device)
                    loss = self.loss_of(x[index])
                    stage.step(loss=loss)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

        Do not leave the loop early. A stage that was complete is restored and yields no epoch.

        Args:
            name: Letters, digits, - and _; unique within the model.
            keeps: Objects to checkpoint, by name: modules, optimisers, and the generator of every
                random number. Anything else that changes is lost on resume.
            steps: Calls of `step` per epoch, for the progress display.
            mend: Advice in the error for a term that is not finite.
        """

    def log(self, **values: float) -> None:
        """Append one line to the run's log."""


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
        # Two spellings of one value would give two run identities and two rows in a table.
        return "none" if how == "original" else how

    @field_validator("train", check_fields=False)
    @classmethod
    def _schedules_fit(cls, train: Any) -> Any:
        for key, schedule in getattr(train, "schedules", {}).items():
            if reason := refused_schedule(cls, key, schedule):
                error = PydanticCustomError("value_error", "{reason}", {"reason": reason})
                line = InitErrorDetails(type=error, loc=("schedules", key), input=key)
                raise ValidationError.from_exception_data(cls.__name__, [line])
        return train

    @model_serializer(mode="wrap")
    def _rebuilt_alike(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A section leaves its usual values out. Where this class has another default, the usual
        # value is written, or the settings of a record would not give the same configuration.
        written: dict[str, Any] = write(self)
        for name, info in type(self).model_fields.items():
            section, default = getattr(self, name), info.get_default(call_default_factory=True)
            if isinstance(section, Config) and isinstance(default, Config) and name in written:
                for key in type(section).model_fields.keys() - written[name].keys():
                    if getattr(section, key) != getattr(default, key, None):
                        written[name][key] = getattr(section, key)
        return written


class GradientConfig(ModelConfig):
    """Base of a gradient model's configuration."""

    train: TrainConfig = TrainConfig()


class Model(nn.Module):
    """Base class of every model, whose saved state is its parameters and buffers.

    Write the class attributes below as literals: `zslkit models` reads them without importing.
    """

    contract: ClassVar[int] = CONTRACT
    inputs: ClassVar[tuple[Input, ...]] = ("map",)
    """Accepted input types, preferred first."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Required semantics: any of "word_vectors" and "groups"."""
    protocol: ClassVar[TrainProtocol] = "inductive"
    """What training may use beside images of seen classes.

    inductive: nothing of the unseen classes. class-inductive: semantics of the unseen classes.
    transductive: unlabelled test images (`view.unlabelled()`), usually with semantics. Tables keep
    the three apart."""
    citation: ClassVar[str] = ""
    bibtex: ClassVar[str] = ""
    """Optional BibTeX entry for `zslkit models NAME --bibtex`; by default made from `citation`."""
    pretraining_note: ClassVar[str] = ""
    """Remark on the data of a pretraining elsewhere; shown with every result of the model."""
    presets: ClassVar[str] = ""
    """Folder of `<dataset>.yaml` files, relative to the folder of the module."""
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Config key (dotted for sections) -> values that `--tune` tries on validation."""
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    """Config key -> values for keys that only `scores` uses, which `--tune` tries without
    retraining."""
    Config: ClassVar[type[ModelConfig]] = ModelConfig
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Name of a check of `zslkit.testing` that the model is known to fail -> the reason."""
    check_settings: ClassVar[Mapping[str, Any]] = {}
    """Dotted config key -> value for the trainings of `zslkit.testing`, where its short default
    training does not fit."""

    attributes: Tensor
    seen: Tensor

    def __init__(self, config: Any, task: Task) -> None:
        """Register the buffers `attributes` (C, A) and `seen` (C,), and build a trainable backbone.

        `config` is an instance of this class's `Config`.
        """
        super().__init__()
        self.config, self.task = config, task
        self.register_buffer(
            "attributes", torch.from_numpy(task.attributes.copy()), persistent=False
        )
        self.register_buffer("seen", torch.from_numpy(task.seen.copy()), persistent=False)
        self.backbone = task.build_backbone() if task.build_backbone is not None else None

    @classmethod
    def image_encoder(cls, config: Any) -> Backbone | None:
        """Optional: the frozen image encoder that this model requires; None accepts any backbone.

        For models that only work with their own encoder, such as vision-language models. The
        harness passes each image through it once, stores the features, and records the encoder as
        the backbone. `config` replaces the settings ENCODER_KEYS of `features`.

        Raises:
            UserError: A setting is missing or wrong, or (MissingWeights) the weights are not here.
        """
        return None

    @classmethod
    def linear_when_frozen(cls, config: Any) -> bool:
        """Optional: whether the model is one linear map of pooled features on a frozen backbone.

        For models whose local losses only reach the class scores through a backbone that is trained
        with them. Tables mark their rows on frozen features "frozen: linear".
        """
        return False

    def embed(self, x: Tensor) -> Tensor:
        """Feature map `(B, D, H, W)` of images if the backbone is trained here; otherwise `x`."""
        return self.backbone(x) if self.backbone is not None else x

    @abstractmethod
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Train on the view. Called once, on `trainer.device`."""

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """Uncalibrated scores `(B, C)` of ALL classes for inputs `(B, ...)`; higher is likelier.

        Called in evaluation mode without gradients. The scores of an image must not depend on the
        other images of its batch.
        """

    def remarks(self) -> tuple[str, ...]:
        """Optional: what the model settled by itself, such as random word vectors; sentences.

        Called once, before the training; shown with the result and kept in the record.
        """
        return ()

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """Optional: part of the model -> its attention maps for inputs `(B, ...)`, in order.

        Called in evaluation mode without gradients. By default none.
        """
        return {}

    def evidence(self, x: Tensor) -> Tensor | None:
        """Optional: scores s `(B, A)` of attributes that explain the class scores, or None.

        a_ki * s_i is the contribution of attribute i to the score of class k. Called in evaluation
        mode without gradients. By default the sum of the `scores` of all parts of `attention`.
        """
        scores = [part.scores for part in self.attention(x).values() if part.scores is not None]
        return torch.stack(scores).sum(dim=0) if scores else None

    def predicted_attributes(self, x: Tensor) -> Tensor | None:
        """Optional: predictions `(B, A)`, for `zslkit evaluate --metrics attribute-AUC-seen,...`.

        Higher means more likely present. Any scale works, because the metrics only rank images by
        one attribute. Fill the column of an attribute that the model does not predict with NaN.
        Called in evaluation mode without gradients. By default `evidence`.
        """
        return self.evidence(x)

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Optional: class scores and attribute predictions in one pass.

        The harness asks for both when it evaluates a run. Define it where `scores` and
        `predicted_attributes` share most of their work; a class that overrides one of these two
        below it is asked for them instead. Called in evaluation mode without gradients.
        """
        return self.scores(x), self.predicted_attributes(x)


class GradientModel(Model):
    """Base class of models trained by gradients: define `loss`, and the harness trains."""

    loss_is_mean: ClassVar[bool] = False
    """Whether a batch may be split between processes, or into parts when device memory is short.

    True requires that every term of `loss` is a mean over the given images, depends on parameters
    alone, or uses zslkit.functional.whole_batch or whole_sum for sums over images. If False, one
    process trains while the others wait, and a batch is never split."""

    @abstractmethod
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Scalar loss terms by name, of inputs `(B, ...)` and class ids `(B,)`.

        The loop minimises "total" if present and logs the others; otherwise it minimises their sum.
        """

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.train(self, view)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by group name, for separate learning rates; others are not trained."""
        return {"all": [p for p in self.parameters() if p.requires_grad]}

    def begin_epoch(self, epoch: int) -> None:
        """Optional: called before the steps of each epoch (from 0), also of a resumed training.

        For losses with a schedule. It may only depend on `epoch`, since a resumed training does not
        call it for the epochs before the interruption.
        """

    def learning_rate(self, epoch: int, group: str) -> float:
        """Learning rate of `group` in `epoch` (from 0); at 0 the group is frozen at no cost.

        The loop multiplies it by the factor of `train.warmup` and of `train.lr_schedule=cosine`,
        which are the same for all groups; `train.lr_factor` counts with `train.lr_schedule=step`.
        """
        train: TrainConfig = self.config.train
        if train.lr_schedule != "step":
            return train.lr
        return train.lr * train.lr_factor ** (epoch // train.lr_every)


ENCODER_KEYS = (
    *("backbone", "weights", "size", "reduction"),
    *("pretrain_epochs", "pooling", "crop_pct"),
)
"""Settings of `features` without effect on a model that brings its own image encoder."""


def brings_encoder(kind: type[Model]) -> bool:
    """Whether this class requires its own image encoder."""
    return next(owner for owner in kind.__mro__ if "image_encoder" in vars(owner)) is not Model


def check_model(name: str, loaded: Any) -> type[Model]:
    """Return `loaded`; UserError that says why, unless it is a model class of this contract."""
    if not (isinstance(loaded, type) and issubclass(loaded, Model)):
        fault = f"the entry point names {loaded!r}, which is no subclass of zslkit.model.Model"
    elif loaded.contract != CONTRACT:
        fault = f"it is written for contract {loaded.contract} and this zslkit speaks {CONTRACT}"
    elif not loaded.inputs or any(i not in ("pooled", "map", "image") for i in loaded.inputs):
        fault = f'inputs = {loaded.inputs!r}; it takes some of "pooled", "map", "image"'
    else:
        return loaded
    raise UserError(f"{name}: {fault}")
