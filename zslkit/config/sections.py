"""Typed configuration: the sections of every run, and their validation.

Every error names the key and its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)
from pydantic.fields import FieldInfo

from zslkit.config.merge import Settings
from zslkit.config.scalars import Written, as_expected
from zslkit.config.wording import choices, takes
from zslkit.errors import UserError, did_you_mean
from zslkit.utils.seeds import MOST_SEED

Input = Literal["pooled", "map", "image"]
Pooling = Literal["mean", "own"]
Side = Annotated[int, Field(ge=1, le=4096)]
MOST = 1_000_000
"""Largest number of epochs, steps, images of a batch and the like; more is a slip of the fingers
that fills the memory or never ends."""


class Config(BaseModel):
    """Base class of every configuration; refuses unknown keys and is immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class FeatureConfig(Config):
    """Source of a model's input (section `features`)."""

    backbone: str = Field("resnet101.tv_in1k", description="name of a timm model")
    weights: str = Field(
        "auto",
        description=(
            "auto, hub, offline, trainval (trained on this dataset's trainval images), "
            "random, or a file"
        ),
    )
    size: Literal["own"] | Side | tuple[Side, Side] | None = Field(
        None,
        description=(
            "side of the square or (height, width) in pixels; own: the size that the backbone "
            "was made for; none: images as they are"
        ),
    )
    reduction: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="take the deepest map with this stride instead of the network's last one",
    )
    input: Literal["auto", "frozen", "pooled", "map", "image"] = Field(
        "auto",
        description=(
            "what the model is fed with; auto: what it prefers; frozen: what it prefers "
            "of pooled and map"
        ),
    )
    dtype: Literal["float16", "bfloat16", "float32"] = Field(
        "float16", description="type of the stored features"
    )
    pretrain_epochs: int = Field(
        15, ge=1, le=MOST, description="with weights=trainval: epochs of naming the seen classes"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="numbers a frozen backbone computes with"
    )
    skip_bad: bool = Field(
        False, description="leave out images that cannot be read, instead of refusing them"
    )
    pooling: Pooling = Field(
        "mean",
        description=(
            "of pooled features: mean of the map, or what the backbone's own classifier reads"
        ),
    )
    crop_pct: Literal["own"] | Annotated[float, Field(ge=0.1, le=1)] = Field(
        1.0,
        description=(
            "photos are resized to size / crop_pct and their middle is cropped, as in timm; own: "
            "as the backbone was trained"
        ),
    )

    @model_serializer(mode="wrap")
    def _usual_left_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(self, write(self), _LATER, FeatureConfig)


_LATER = ("precision", "skip_bad", "pooling", "crop_pct")


USUAL_WATCH = 5
"""Default of protocol.watch_test, with which looks at the test sets are kept cheap."""


class ProtocolConfig(Config):
    """How the metrics are produced (section `protocol`)."""

    selection: Literal["last", "validation"] = Field(
        "last", description="which epoch counts; validation: the best one of a fold inside trainval"
    )
    calibration: Literal["none", "validation"] = Field(
        "none", description="calibrated stacking, its gamma picked on a fold inside trainval"
    )
    tune: bool = Field(False, description="search the model's declared grid on the folds first")
    trials: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="with tune: points of the grid that Optuna may try; none: all of them",
    )
    folds: int = Field(
        1,
        ge=1,
        le=MOST,
        description="validation folds, no class held out twice; what they say is averaged",
    )
    fold_seed: int = Field(0, ge=0, le=MOST_SEED, description="seed of the validation folds")
    patience: int = Field(
        0,
        ge=0,
        le=MOST,
        description=(
            "with selection=validation: stop after so many epochs without a better H; 0: never"
        ),
    )
    watch_test: int = Field(
        USUAL_WATCH,
        ge=0,
        le=MOST,
        description=(
            "score the test sets every so many epochs, only to report what picking on "
            "them would give; 5: less often where that would take over 3 % of the training; "
            "--as-papers-do: 1"
        ),
    )

    @field_validator("selection", "calibration", mode="before")
    @classmethod
    def _never_on_test(cls, how: Any) -> Any:
        if isinstance(how, str) and (how == "oracle" or how.startswith("test")):
            raise ValueError(
                "a result is never picked on the test sets; to see what that would print, zslkit "
                "compare --as-papers-do"
            )
        return how


def without_usual(
    config: Config, written: dict[str, Any], later: Iterable[str], base: type[Config]
) -> dict[str, Any]:
    """Settings that came later are written only where they were used.

    So older runs keep their identity and their rows. A class with a default of its own has its
    values written, since what is left out is read as the default.

    Args:
        later: Names of the settings that came later.
        base: The class whose defaults are usual.
    """
    fields = type(config).model_fields
    usual = {k: base.model_fields[k].default for k in later}
    idle = {k for k, v in usual.items() if fields[k].default == v}
    return {k: v for k, v in written.items() if k not in idle or v != usual[k]}


C = TypeVar("C", bound=Config)


def build(kind: type[C], settings: Settings, where: str, beside: Iterable[str] = ()) -> C:
    """Validate settings.

    Args:
        where: Name in errors, such as "features" or a model's name.
        beside: Keys that are read elsewhere, for suggestions.

    Raises:
        UserError: A key or value is wrong. The message names the key, its source, and the nearest
            known key or the broken rule.
    """
    values = as_expected(kind, settings.values, settings.texts)
    try:
        return kind.model_validate(_over_defaults(kind, values))
    except ValidationError as error:
        # A misspelt required key is also missing; report the misspelling first.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        key, info, whole = _named(kind, [str(p) for p in first["loc"]])
        place = f" ({found})" if (found := settings.place(key)) else ""
        if first["type"] == "extra_forbidden":
            known = [*known_keys(kind), *_inside(kind, key), *beside]
            raise UserError(
                f"{where} has no setting {key!r}{place}{did_you_mean(key, known)}"
            ) from error
        if first["type"] == "missing":
            raise UserError(f"{where} lacks {key!r}; add it") from error
        value = first.get("input")
        if info is None or not whole or first["type"] in _OWN_WORDS:
            message = first["msg"].removeprefix("Value error, ")
            rule = message[:1].lower() + message[1:]
        else:
            value = _at(values, key, value)
            words = choices(info.annotation)
            near = did_you_mean(value, words) if isinstance(value, str) else ""
            # takes() already lists all choices.
            plain = ", in plain digits" if isinstance(value, Written) else ""
            rule = f"it takes {takes(info)}{plain}{near if near.endswith('?') else ''}"
        raise UserError(f"{where}: {key} = {value!r}{place} is refused: {rule}") from error


_OWN_WORDS = ("value_error", "assertion_error", "string_pattern_mismatch", "finite_number")
"""Types of pydantic errors whose own text says more than type and bounds."""


def _named(kind: type[Config], loc: list[str]) -> tuple[str, FieldInfo | None, bool]:
    """Dotted key of an error's location, its field, and whether the error concerns the whole value.

    pydantic appends the tried member of a union to the location; it is not part of the key.
    """
    for depth, name in enumerate(loc):
        info = kind.model_fields.get(name)
        if info is None:
            break
        if _is_section(info.annotation):
            kind = info.annotation
            continue
        rest = loc[depth + 1 :]
        if not rest or get_origin(info.annotation) in (Union, UnionType):
            return ".".join(loc[: depth + 1]), info, True
        return ".".join(loc), info, False
    return ".".join(loc), None, False


def _inside(kind: type[Config], key: str) -> list[str]:
    """Keys beside `key` in a section that users name, such as `train.schedules.NAME.to`."""
    holder: Any = kind
    for part in key.split("."):
        field = holder.model_fields.get(part) if _is_section(holder) else None
        holder = field.annotation if field is not None else None
        if get_origin(holder) is dict and _is_section(section := get_args(holder)[1]):
            return known_keys(section, key.rpartition(".")[0] + ".")
    return []


def _is_section(annotation: Any) -> TypeGuard[type[Config]]:
    return isinstance(annotation, type) and issubclass(annotation, Config)


def _at(values: Mapping[str, Any], key: str, otherwise: Any) -> Any:
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return otherwise
        found = found[part]
    return found


def _over_defaults(kind: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    # Missing keys of a section come from the owner's default for that section, which may differ
    # from the defaults of the section's class.
    fields = kind.model_fields.items()
    defaults = {name: info.get_default(call_default_factory=True) for name, info in fields}
    return {name: _over(defaults.get(name), value) for name, value in values.items()}


def _over(default: Any, value: Any) -> Any:
    if not (isinstance(default, Config) and isinstance(value, Mapping)):
        return value
    given = {name: _over(getattr(default, name, None), inner) for name, inner in value.items()}
    return {**default.model_dump(), **given}


def known_keys(kind: type[Config], prefix: str = "") -> list[str]:
    """All dotted keys of a configuration class."""
    keys: list[str] = []
    for name, info in kind.model_fields.items():
        if _is_section(info.annotation):
            keys += known_keys(info.annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + (info.alias or name))
    return keys
