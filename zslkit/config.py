"""Typed configuration in layers: defaults < preset < --config FILE < --set key=value.

Every value remembers the layer it came from, and every error names the key and its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, field_validator, model_serializer
from pydantic.fields import FieldInfo

from zslkit import yaml_lines
from zslkit.config_words import choices, takes
from zslkit.errors import UserError, did_you_mean
from zslkit.files import read_small

Input = Literal["pooled", "map", "image"]
LONGEST = 16 << 20
"""Bytes of a file of settings; a card that lists 20,000 unseen classes has half a megabyte."""


class Config(BaseModel):
    """Base of every configuration: unknown keys are refused, values do not change after they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FeatureConfig(Config):
    """Where a model's input comes from (section `features`)."""

    backbone: str = Field("resnet101.tv_in1k", description="name of a timm model")
    weights: str = Field("auto", description="auto, hub, offline, trainval (trained on this dataset's trainval images), random, or a file")
    size: int | tuple[int, int] | None = Field(
        None, description="side of the square or (height, width) in pixels; none: images as they are"
    )
    reduction: int | None = Field(None, ge=1, description="take the deepest map with this stride instead of the network's last one")
    input: Literal["auto", "frozen", "pooled", "map", "image"] = Field(
        "auto", description="what the model is fed with; auto: what it prefers; frozen: what it prefers of pooled and map"
    )
    dtype: Literal["float16", "bfloat16", "float32"] = Field("float16", description="type of the stored features")
    pretrain_epochs: int = Field(15, ge=1, description="with weights=trainval: epochs of naming the seen classes")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="numbers a frozen backbone computes with")
    skip_bad: bool = Field(False, description="leave out images that cannot be read, instead of refusing them")

    @model_serializer(mode="wrap")
    def _usual_left_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings that came later are written only where they were used, so that older runs keep their identity and their rows."""
        written: dict[str, Any] = write(self)
        usual = {"precision": "float32", "skip_bad": False}
        return {k: v for k, v in written.items() if k not in usual or v != usual[k]}


class ProtocolConfig(Config):
    """How the numbers are made (section `protocol`)."""

    selection: Literal["last", "validation"] = Field(
        "last", description="which epoch counts; validation: the best one of a fold inside trainval"
    )
    calibration: Literal["none", "validation"] = Field(
        "none", description="calibrated stacking, its gamma picked on a fold inside trainval"
    )
    tune: bool = Field(False, description="search the model's declared grid on the folds first")
    trials: int | None = Field(None, ge=1, description="with tune: points of the grid that Optuna may try; none: all of them")
    folds: int = Field(1, ge=1, description="validation folds, no class held out twice; what they say is averaged")
    fold_seed: int = Field(0, description="seed of the validation folds")
    patience: int = Field(0, ge=0, description="with selection=validation: stop after so many epochs without a better H; 0: never")
    watch_test: int = Field(5, ge=0, description="score the test sets every so many epochs, only to report what picking on them would give")

    @field_validator("selection", "calibration", mode="before")
    @classmethod
    def _never_on_test(cls, how: Any) -> Any:
        if isinstance(how, str) and (how == "oracle" or how.startswith("test")):
            raise ValueError("a result is never picked on the test sets; to see what that would print, zslkit compare --as-papers-do")
        return how


class TrainConfig(Config):
    """The gradient loop (section `train` of a gradient model)."""

    epochs: int = Field(20, ge=0)
    steps_per_epoch: int | None = Field(None, ge=1, description="none: images / batch_size")
    batch_size: int = Field(50, ge=1)
    sampling: Literal["uniform", "balanced"] = Field("uniform", description="balanced: distinct classes at random, one image each")
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = "rmsprop"
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD and RMSprop; beta1 of Adam")
    lr_factor: float = Field(1.0, gt=0, le=1, description="learning rate times this every lr_every epochs")
    lr_every: int = Field(10, ge=1)
    clip_norm: float | None = Field(None, gt=0, description="clip the gradient's norm")
    precision: Literal["float32", "bfloat16"] = "float32"


@dataclass
class Layer:
    """One source of values: a nested mapping and where it came from, as errors should say it; of a file also dotted key -> line."""

    values: Mapping[str, Any]
    origin: str
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Settings:
    """Merged layers. `values` is nested; `origins` maps dotted keys to the origin of the value that won, `lines` to its file and line.

    A section has the line where it begins in the last file that has it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    lines: dict[str, tuple[str, int]] = field(default_factory=dict)

    def section(self, name: str) -> Settings:
        """The values below `name`, taken out of these settings."""
        inner = self.values.pop(name, None)
        prefix = name + "."
        origins = {k[len(prefix) :]: v for k, v in self.origins.items() if k.startswith(prefix)}
        lines = {k[len(prefix) :]: v for k, v in self.lines.items() if k.startswith(prefix)}
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise UserError(f"{name} ({self.place(name) or 'config'}) is a section; write {name}.KEY=VALUE")
        return Settings(inner, origins, lines)

    def place(self, key: str) -> str:
        """Where the value of a dotted key, of what it holds, or else of what holds it, is from: 'my.yaml, line 3'; "" if unknown."""
        near = [k for k in self.origins if k == key or k.startswith(key + ".")]
        near = near or [k for k in self.origins if key.startswith(k + ".")]
        if not near:
            return ""
        parents = [key.rsplit(".", cut)[0] for cut in range(key.count(".") + 1)]
        origin = self.origins[near[0]]
        line = next((self.lines[k][1] for k in parents if k in self.lines and self.lines[k][0] == origin), None)
        return origin + (f", line {line}" if line is not None else "")


def merge(layers: Iterable[Layer]) -> Settings:
    """Later layers win, key by key; sections are merged, other values replaced."""
    merged = Settings()
    for layer in layers:
        _merge_into(merged.values, layer.values, "", layer.origin, merged.origins)
        _merge_lines(merged.lines, layer)
    return merged


def _merge_lines(lines: dict[str, tuple[str, int]], layer: Layer) -> None:
    for key in _dotted(layer.values):
        for old in [k for k in lines if k == key or k.startswith(key + ".")]:  # of a value that has been replaced
            del lines[old]
    lines.update({key: (layer.origin, line) for key, line in layer.lines.items()})


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _merge_into(target: dict[str, Any], source: Mapping[str, Any], prefix: str, origin: str, origins: dict[str, str]) -> None:
    for key, value in source.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            inner = target.setdefault(key, {})
            if not isinstance(inner, dict):
                inner = target[key] = {}
            _merge_into(inner, value, dotted + ".", origin, origins)
        else:
            target[key] = value
            origins[dotted] = origin


def parse_set(items: Iterable[str]) -> Layer:
    """`a.b=1` pairs of --set; values are YAML, so 1e-4, true, null and [1, 2] mean what they say.

    Raises UserError for an item without '='.
    """
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set takes key=value, and {item!r} is not that; write for instance --set train.epochs=5")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        except RecursionError as error:
            raise UserError(f"--set {key}: the value is nested too deeply; write it in a file and name that with --config") from error
        if isinstance(value, str):
            value = _number(value)
        _place(values, key.strip(), value, f"--set {item!r}")
    return Layer(values, "--set")


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose keys may be dotted, as sections: {"train.epochs": 5} becomes {"train": {"epochs": 5}}.

    Raises UserError if a key is given a value and something below it too.
    """
    values: dict[str, Any] = {}
    for key, value in flat.items():
        if isinstance(value, Mapping):
            for inner, deep in nested(value).items():
                _place(values, f"{key}.{inner}", deep, key)
        else:
            _place(values, key, value, key)
    return values


def _place(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"{where}: {parent!r} was given a value before, so it cannot hold {last!r}")
    values[last] = value


def _number(text: str) -> Any:
    # YAML 1.1 reads 1e-4 as text, since it wants a dot; people write it without.
    try:
        return float(text) if "e" in text.lower() else text
    except ValueError:
        return text


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    return _number(value) if isinstance(value, str) else value


def read_yaml(path: Path, origin: str | None = None) -> Layer:
    """A YAML file of settings. Raises UserError if it is missing, no YAML, or no mapping."""
    try:
        text = read_small(path, LONGEST)
    except (OSError, ValueError) as error:
        raise UserError(f"The settings file {path} cannot be read ({error}); check the path") from error
    try:
        values, lines = yaml_lines.load(text)
        values = values or {}
    except yaml_lines.TwiceError as error:
        raise UserError(f"{path}: {error}") from error
    except yaml_lines.TooMuch as error:
        raise UserError(f"{path}: {error}; write the values out") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: this is not YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: settings are a mapping of key: value, and this is a {type(values).__name__}")
    return Layer(_numbers(values), origin or str(path), lines)


C = TypeVar("C", bound=Config)


def build(kind: type[C], settings: Settings, where: str, beside: Iterable[str] = ()) -> C:
    """The typed configuration. `where` names it in errors ("dedn", "features"); beside: keys that are read elsewhere, for suggestions.

    Raises UserError that names the key, its origin and the nearest known key or the rule it breaks.
    """
    try:
        return kind.model_validate(_over_defaults(kind, settings.values))
    except ValidationError as error:
        # A misspelt key is also a missing one; what was written is told before what was not.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        key, info, whole = _named(kind, [str(p) for p in first["loc"]])
        place = f" ({found})" if (found := settings.place(key)) else ""
        if first["type"] == "extra_forbidden":
            known = [*known_keys(kind), *beside]
            raise UserError(f"{where} has no setting {key!r}{place}{did_you_mean(key, known)}") from error
        if first["type"] == "missing":
            raise UserError(f"{where} lacks {key!r}; add it") from error
        value = first.get("input")
        if info is None or not whole or first["type"] in _OWN_WORDS:
            rule = _lower(first["msg"])
        else:
            value = _at(settings.values, key, value)
            words = choices(info.annotation)
            near = did_you_mean(value, words) if isinstance(value, str) else ""
            # The list of all words stands there already.
            rule = f"it takes {takes(info)}{near if near.endswith('?') else ''}"
        raise UserError(f"{where}: {key} = {value!r}{place} is refused: {rule}") from error


_OWN_WORDS = frozenset({"value_error", "assertion_error", "string_pattern_mismatch", "frozen_instance", "finite_number"})
"""Kinds of errors whose own text says more than type and bounds of the setting."""


def _named(kind: type[Config], loc: list[str]) -> tuple[str, FieldInfo | None, bool]:
    """The dotted key that an error's location means, its field, and whether the error is about the whole value.

    pydantic appends the member of a union that it tried, which is no part of the key.
    """
    for depth, name in enumerate(loc):
        info = kind.model_fields.get(name)
        if info is None:
            break
        if isinstance(info.annotation, type) and issubclass(info.annotation, Config):
            kind = info.annotation
            continue
        rest = loc[depth + 1 :]
        if not rest or get_origin(info.annotation) in (Union, UnionType):
            return ".".join(loc[: depth + 1]), info, True
        return ".".join(loc), info, False
    return ".".join(loc), None, False


def _at(values: Mapping[str, Any], key: str, otherwise: Any) -> Any:
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return otherwise
        found = found[part]
    return found


def _over_defaults(kind: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    # A section that is given in part keeps the rest of the default that its owner wrote, which need not be that of the section's class.
    standing = {name: info.get_default(call_default_factory=True) for name, info in kind.model_fields.items()}
    return {name: _over(standing.get(name), value) for name, value in values.items()}


def _over(standing: Any, value: Any) -> Any:
    if not (isinstance(standing, Config) and isinstance(value, Mapping)):
        return value
    return {**standing.model_dump(), **{name: _over(getattr(standing, name, None), inner) for name, inner in value.items()}}


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def known_keys(kind: type[Config], prefix: str = "") -> list[str]:
    """All dotted keys of a configuration class."""
    keys: list[str] = []
    for name, info in kind.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, Config):
            keys += known_keys(annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
