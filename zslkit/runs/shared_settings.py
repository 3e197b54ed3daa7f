"""Settings of several models at once: shared ones, and those of one model alone.

One model's own settings are written `--set MODEL:KEY=VALUE`, or in a section MODEL of the file,
and its own preset `--preset MODEL:NAME`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zslkit.config import FeatureConfig, ProtocolConfig, known_keys
from zslkit.config.merge import (
    GivenSettings,
    Layer,
    below,
    flat,
    given_texts,
    parse_given,
    parse_set,
)
from zslkit.errors import UnknownName, UserError, did_you_mean
from zslkit.model import ENCODER_KEYS, brings_encoder
from zslkit.registry import MODELS

_COMMON = (*known_keys(FeatureConfig, "features."), *known_keys(ProtocolConfig, "protocol."))
"""Settings that every model has."""


def own_layers(
    model: str, models: Sequence[str], file: Layer | None, settings: GivenSettings
) -> list[Layer]:
    """The settings of one model among those of all, later ones win.

    A shared setting that this model lacks is left out if another of the models has it. The file may
    hold sections of single models. Settings are `KEY=VALUE` and `MODEL:KEY=VALUE`, as of `--set`,
    or a dictionary with keys `KEY` and `MODEL:KEY`.

    Raises:
        UserError: No model has a setting, or `MODEL` is none of the models.
    """
    if isinstance(settings, Mapping):
        of_all, of_one = _parted(model, models, settings.items())
        shared, own = [parse_given(dict(of_all))], [parse_given(dict(of_one))]
    else:
        words = (word.partition("=") for word in given_texts(settings))
        parts = [(key, f"{equals}{value}") for key, equals, value in words]
        of_all, of_one = _parted(model, models, parts)
        shared, own = ([parse_set(f"{k}{rest}" for k, rest in part)] for part in (of_all, of_one))
    if file is not None:
        sections = [
            name
            for name in file.values
            if any(_means(name, one) for one in models) and not _known(models, name)
        ]
        rest = {key: value for key, value in file.values.items() if key not in sections}
        shared.insert(0, Layer(rest, file.origin, file.lines, file.texts))
        own[:0] = [_section(file, name) for name in sections if _means(name, model)]
    return [*(without_others(model, models, layer) for layer in shared), *own]


def own_preset(model: str, models: Sequence[str], given: Sequence[str]) -> str | None:
    """The preset of one model among NAME and MODEL:NAME of all: its own, else that of all.

    Raises:
        UserError: Two are given for the model, or `MODEL` is none of the models.
    """
    of_all, of_one = _parted(model, models, ((word, None) for word in given))
    names = list(dict.fromkeys(name for name, _ in of_one or of_all))
    if len(names) > 1:
        raise UserError(f"--preset is given for {model} as {' and '.join(names)}; give one")
    return names[0] if names else None


def owners(models: Sequence[str], file: Layer | None, settings: Sequence[str]) -> set[str]:
    """The models with settings of their own; `settings` may hold MODEL:PRESET too."""
    words = [word.partition("=")[0].rpartition(":")[0].strip() for word in settings]
    words += [name for name in (file.values if file else ()) if not _known(models, name)]
    return {model for model in models if any(_means(word, model) for word in words)}


def _parted(
    model: str, models: Sequence[str], items: Iterable[tuple[str, Any]]
) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Keys and values of all models, and those of this one alone, without its name."""
    of_all: list[tuple[str, Any]] = []
    of_one: list[tuple[str, Any]] = []
    for written, value in items:
        owner, colon, key = str(written).rpartition(":")
        owner = owner.strip()
        if not colon:
            of_all.append((written, value))
        elif not any(_means(owner, name) for name in models):
            where = f"It stands in {written!r}"
            raise UnknownName("model of this table", owner, models, where)
        elif _means(owner, model):
            of_one.append((key, value))
    return of_all, of_one


def _means(word: str, model: str) -> bool:
    """Whether a word names a model of the table: as there, or without the distribution."""
    return word in (model, model.rpartition(":")[2])


def _section(file: Layer, model: str) -> Layer:
    values = file.values[model]
    if values is None:
        return Layer({}, file.origin)
    if not isinstance(values, Mapping):
        raise UserError(
            f"{file.origin}: {model} is a model of this table, so it holds settings as "
            f"KEY: VALUE, and this is {values!r}"
        )
    return Layer(values, file.origin, below(model, file.lines), below(model, file.texts))


def without_others(model: str, models: Sequence[str], layer: Layer) -> Layer:
    """The layer without settings that this model lacks and another of the models has.

    Raises:
        UserError: None of the models has a setting.
    """
    own = _keys(model)
    lacking = [key for key in flat(layer.values) if not _has(own, key)]
    if len(models) == 1:  # reported by the model itself
        return layer
    for key in lacking:
        parents = [key.rsplit(".", cut)[0] for cut in range(key.count("."), -1, -1)]
        if unknown := next((part for part in parents if not _known(models, part)), ""):
            line = layer.lines.get(unknown)
            place = f"{layer.origin}, line {line}" if line else layer.origin
            known = {known for name in models for known in _keys_or_none(name)}
            raise UserError(
                f"No model of this table has a setting {unknown!r} ({place})"
                f"{did_you_mean(key, known)}"
            )
    return Layer(_dropped(layer.values, set(lacking)), layer.origin, layer.lines, layer.texts)


def _dropped(values: Mapping[str, Any], lacking: set[str], before: str = "") -> dict[str, Any]:
    """The values without these dotted keys, and without sections that this leaves empty."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{before}{name}"
        if isinstance(value, Mapping) and value:
            if inner := _dropped(value, lacking, f"{key}."):
                kept[name] = inner
        elif key not in lacking:
            kept[name] = value
    return kept


def _known(models: Sequence[str], key: str) -> bool:
    return any(_has(_keys_or_none(name), key) for name in models)


def _has(keys: Sequence[str], key: str) -> bool:
    """Whether a dotted key is a setting, a section of settings, or below a setting."""
    return any(f"{k}.".startswith(f"{key}.") or key.startswith(f"{k}.") for k in keys)


def _keys(model: str) -> Sequence[str]:
    model_class = MODELS.load(model)[1]
    idle = {f"features.{key}" for key in ENCODER_KEYS if brings_encoder(model_class)}
    return [key for key in (*_COMMON, *known_keys(model_class.Config)) if key not in idle]


def _keys_or_none(model: str) -> Sequence[str]:
    """As `_keys`; those that every model has if the plugin is broken, which its own run reports."""
    try:
        return _keys(model)
    except Exception:  # a plugin may raise anything
        return _COMMON
