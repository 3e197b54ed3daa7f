"""Settings of the gradient loop: batches, optimiser, and what changes over its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic.fields import FieldInfo

from zslkit.config.scalars import alternatives
from zslkit.config.sections import MOST, Config, without_usual
from zslkit.config.wording import takes
from zslkit.errors import did_you_mean


class Schedule(Config):
    """Course of one setting over the steps of a training (`train.schedules`)."""

    start: float | None = Field(
        None, alias="from", description="value at the first step; none: the setting itself"
    )
    end: float | None = Field(
        None, alias="to", description="value at the end; none: the setting itself"
    )
    over: float = Field(1.0, gt=0, le=1, description="share of all steps that the way takes")
    shape: Literal["linear", "cosine", "step"] = Field(
        "linear", description="step: from until the share is over, then to"
    )

    def value(self, done: float, own: float | None) -> float:
        """The value of the setting.

        Args:
            done: Share of all steps that have been taken, 0 to 1.
            own: The setting itself, which stands in for a missing `from` or `to`.

        Raises:
            ValueError: The setting is none, and `from` or `to` is missing.
        """
        start = own if self.start is None else self.start
        end = own if self.end is None else self.end
        if start is None or end is None:
            raise ValueError("the setting itself is none, so give both from and to")
        way = min(1.0, done / self.over)
        if self.shape == "step":
            way = math.floor(way)
        elif self.shape == "cosine":
            way = (1 - math.cos(math.pi * way)) / 2
        return end if way == 1 else start + (end - start) * way

    @model_serializer(mode="plain")
    def _as_written(self) -> dict[str, Any]:
        written = {"from": self.start, "to": self.end, "over": self.over, "shape": self.shape}
        return {key: value for key, value in written.items() if value is not None}


class TrainConfig(Config):
    """Gradient loop (section `train` of a gradient model)."""

    epochs: int = Field(20, ge=0, le=MOST)
    steps_per_epoch: int | None = Field(
        None, ge=1, le=MOST, description="none: images / batch_size"
    )
    batch_size: int = Field(50, ge=1, le=MOST)
    sampling: Literal["uniform", "balanced"] = Field(
        "uniform", description="balanced: distinct classes at random, images_per_class of each"
    )
    images_per_class: int = Field(
        1, ge=1, le=MOST, description="with sampling=balanced: images of each class in a batch"
    )
    random_crop: float = Field(
        1.0,
        ge=1,
        le=4,
        description=(
            "with features.input=image: resize photos to this many times the input and crop a "
            "random place; 1: the centre"
        ),
    )
    flip: bool = Field(
        False, description="with features.input=image: mirror every photo with probability 1/2"
    )
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = "rmsprop"
    fresh_optimizer: bool = Field(
        False, description="a new optimiser in every epoch, without the moments of the last one"
    )
    lr: float = Field(1e-4, gt=0, le=MOST)
    weight_decay: float = Field(1e-4, ge=0, le=MOST)
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD and RMSprop; beta1 of Adam")
    lr_factor: float = Field(
        1.0, gt=0, le=1, description="learning rate times this every lr_every epochs"
    )
    lr_every: int = Field(10, ge=1, le=MOST)
    lr_schedule: Literal["step", "cosine", "constant"] = Field(
        "step",
        description="step: by lr_factor and lr_every; cosine: half a cosine down to lr_end",
    )
    lr_end: float = Field(
        0.0, ge=0, le=1, description="with lr_schedule=cosine: share of the rate left at the end"
    )
    warmup: float = Field(
        0.0, ge=0, lt=1, description="share of all steps in which the rate rises linearly from 0"
    )
    schedules: dict[str, Schedule] = Field(
        {}, description="setting that the loss reads -> its course: {from, to, over, shape}"
    )
    average_last: float = Field(
        0.0,
        ge=0,
        le=1,
        description="use the mean of the weights after each of this last share of the epochs",
    )
    schedule_epochs: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="epochs that all these shares are of; none: epochs",
    )
    clip_norm: float | None = Field(None, gt=0, description="clip the gradient's norm")
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = Field(
        False, description="compile the loss with torch's compiler, which takes a minute at first"
    )
    accumulate: int = Field(
        1,
        ge=1,
        le=MOST,
        description="parts that a batch is taken in, for little memory; the same step",
    )
    offload: bool = Field(
        False, description="keep activations in the host's memory, for little memory; the same step"
    )

    @field_validator("images_per_class")
    @classmethod
    def _fills_batches(cls, count: int, others: ValidationInfo) -> int:
        size, sampling = others.data.get("batch_size", count), others.data.get("sampling")
        if count > 1 and sampling == "uniform":
            raise ValueError(
                "batches of train.sampling=uniform draw images whatever their class; set "
                "train.sampling=balanced, or train.images_per_class=1"
            )
        if size % count:
            raise ValueError(
                f"a batch of {size} images cannot hold {count} of each class; set "
                f"train.batch_size={max(count, size // count * count)}"
            )
        return count

    @model_serializer(mode="wrap")
    def _usual_left_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(self, write(self), _LATER, TrainConfig)

    @field_validator("precision", mode="before")
    @classmethod
    def _no_float16(cls, precision: Any) -> Any:
        if precision in ("float16", "fp16", "half"):
            raise ValueError(
                f"{precision} rounds small gradients to 0, and this loop does not scale the loss; "
                "set bfloat16, which every GPU that gains from 16 bits multiplies as fast"
            )
        return precision

    @field_validator("schedules", mode="before")
    @classmethod
    def _by_dotted_key(cls, given: Any) -> Any:
        if given is None:
            return {}
        return _flat(given) if isinstance(given, Mapping) else given

    @property
    def shares_epochs(self) -> int:
        """Number of epochs that the shares of schedules, warm-up and average are of."""
        return self.schedule_epochs or self.epochs

    @property
    def over_time(self) -> bool:
        """Whether the number of epochs decides what a step at the start does."""
        changes = self.warmup or self.schedules or self.average_last
        return bool(self.lr_schedule == "cosine" or changes)

    def rate_factor(self, step: int, steps: int) -> float:
        """Factor of warm-up and cosine, for the learning rate of every parameter group.

        `step` is the number of the step in a training of `steps`, from 0.
        """
        warm = round(self.warmup * steps)
        if step < warm:
            return (step + 1) / warm
        if self.lr_schedule != "cosine":
            return 1.0
        way = (step - warm) / (steps - warm)
        return self.lr_end + (1 - self.lr_end) * (1 + math.cos(math.pi * way)) / 2


_LATER = (
    *("compile", "accumulate", "offload", "images_per_class", "random_crop", "flip"),
    *("fresh_optimizer", "lr_schedule", "lr_end", "warmup", "schedules", "average_last"),
    "schedule_epochs",
)


def _flat(given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Schedules by dotted key; `{key: null}` takes away what a preset says."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        nested = isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values())
        inner = _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
        for key, one in inner.items():
            both = isinstance(one, Mapping) and isinstance(found.get(key), Mapping)
            found[key] = {**found[key], **one} if both else one
    return {key: value for key, value in found.items() if value is not None}


def schedulable(kind: type[Config], prefix: str = "") -> dict[str, FieldInfo]:
    """Settings that a schedule may change, by dotted key: numbers outside the section `train`."""
    found: dict[str, FieldInfo] = {}
    for name, info in kind.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, Config):
            if not issubclass(annotation, TrainConfig):
                found |= schedulable(annotation, f"{prefix}{name}.")
        elif float in alternatives(annotation):
            found[prefix + name] = info
    return found


def refused_schedule(kind: type[Config], key: str, schedule: Schedule) -> str:
    """Why a schedule cannot be one of this configuration's settings; "" if it can."""
    known = schedulable(kind)
    if key not in known:
        if not known:
            return "this model has no setting that is a number and that a schedule could change"
        return f"this model has no such number to change{did_you_mean(key, known)}"
    info = known[key]
    bounded: Any = Annotated[(info.annotation, *info.metadata, Field())]
    check: TypeAdapter[Any] = TypeAdapter(bounded)
    for word, value in (("from", schedule.start), ("to", schedule.end)):
        try:
            if value is not None:
                check.validate_python(value)
        except ValidationError:
            return f"{word} is {value:g}, and {key} takes {takes(info)}"
    return ""


def idle_schedule(config: Config, key: str, schedule: Schedule) -> str:
    """Why a schedule would leave its setting as it is, or cannot begin; "" if it changes it."""
    holder: Any = config
    own = reduce(getattr, key.split("."), holder)
    try:
        ends = {schedule.value(0.0, own), schedule.value(1.0, own)}
    except ValueError as error:
        return str(error)
    if ends != {own}:
        return ""
    return (
        f"{key} is {own:g} from the first step to the last, so nothing would change; give from or "
        f"to another value, or leave the schedule away"
    )
