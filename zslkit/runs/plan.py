"""Merges defaults, dataset, preset, file and options into the typed plan of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zslkit.config import FeatureConfig, ProtocolConfig, TrainConfig, build, known_keys
from zslkit.config.merge import (
    GivenSettings,
    Layer,
    Settings,
    flat,
    merge,
    nested,
    parse_given,
    read_yaml,
)
from zslkit.config.train import idle_schedule
from zslkit.datasets.catalog import NamedDataset, find_dataset
from zslkit.errors import UserError, did_you_mean
from zslkit.model import ENCODER_KEYS, Model, brings_encoder
from zslkit.registry import DATASETS, MODELS, Entry
from zslkit.runs.shared_settings import own_layers, without_others
from zslkit.runs.source import folder_of
from zslkit.training.plan import Plan


def make_plan(
    model: str,
    dataset: str | Path | NamedDataset,
    *,
    settings: GivenSettings = (),
    config: str | Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    table: Sequence[str] = (),
) -> Plan:
    """Merge dataset defaults < preset < config file < settings (--set) < overrides, and type them.

    A preset holds model and training. A backbone or resolution in it counts only on the dataset
    that the preset is named after; every other dataset keeps its own.

    Args:
        dataset: Name of a registered dataset, path of a dataset card, or what they stand for.
        settings: A dictionary, nested or with dotted keys, or `key=value` texts as of `--set`.
        overrides: Settings that win over all others, nested or with dotted keys. "precision" sets
            train.precision of models that have a section train; other models ignore it.
        table: Names of all models, this one too, that share the settings
            (`zslkit.runs.shared_settings`); empty if they are of this model alone.

    Raises:
        UnknownName: The model, dataset or preset does not exist.
        BrokenPlugin: The model's plugin cannot be used.
        UserError: A setting is wrong; names the key and its origin.
    """
    entry, model_class = MODELS.load(model)
    named = find_dataset(dataset)
    usual = [_defaults(named)]
    if found := _preset(entry, model_class, preset, named):
        brought = read_yaml(found, f"preset {found.name}")
        foreign = _of_another_dataset(found.stem, named)
        usual.append(_without_encoder(brought) if foreign else brought)
    file = read_yaml(config) if config is not None else None
    alone = [] if file is None else [file]
    own = own_layers(model, table, file, settings) if table else [*alone, parse_given(settings)]
    winning = nested(overrides or {})
    precision = winning.pop("precision", None)
    if precision is not None and "train" in model_class.Config.model_fields:
        winning["train"] = {**winning.get("train", {}), "precision": precision}
    option = Layer(winning, "option")
    own.append(without_others(model, table, option) if table else option)
    plan = _plan(entry, model_class, named, [*usual, *own])
    return replace(plan, usual=_changed(plan, usual) if any(one.values for one in own) else {})


def _plan(
    entry: Entry, model_class: type[Model], dataset: NamedDataset, layers: Sequence[Layer]
) -> Plan:
    merged: Settings = merge(layers)
    origins = dict(merged.origins)
    if brings_encoder(model_class):
        _drop_idle(entry.name, merged.values.get("features"), origins)
    features = build(FeatureConfig, merged.section("features"), "features")
    protocol = build(ProtocolConfig, merged.section("protocol"), "protocol")
    sections = [*known_keys(FeatureConfig, "features."), *known_keys(ProtocolConfig, "protocol.")]
    config = build(model_class.Config, merged, entry.name, sections)
    if isinstance(train := getattr(config, "train", None), TrainConfig):
        for key, schedule in train.schedules.items():
            if reason := idle_schedule(config, key, schedule):
                raise UserError(f"train.schedules.{key} is refused: {reason}")
    return Plan(entry, model_class, dataset, features, protocol, config, origins)


def _changed(plan: Plan, layers: Sequence[Layer]) -> dict[str, Any] | None:
    """The settings with an effect in which a plan differs from these layers -> values there.

    None if the layers alone are not complete.
    """
    try:
        other = _plan(plan.entry, plan.model_class, plan.dataset, layers)
    except UserError:
        return None
    idle = {f"protocol.{name}" for name in (plan.idle & other.idle) | {"watch_test"}}
    now, before = flat(plan.values), flat(other.values)
    keys = (now.keys() | before.keys()) - idle
    return {key: before.get(key) for key in keys if now.get(key) != before.get(key)}


def _drop_idle(model: str, features: Any, origins: dict[str, str]) -> None:
    """Drop a dataset's defaults for a backbone, which a model with its own encoder does not use.

    Raises:
        UserError: The user asks for them.
    """
    for key in [key for key in ENCODER_KEYS if f"features.{key}" in origins]:
        origin = origins.pop(f"features.{key}")
        if not origin.startswith("dataset "):
            raise UserError(
                f"{model} brings its own image encoder, "
                f"so features.{key} ({origin}) says nothing to it; leave it away, "
                f"and see what it takes instead with: zslkit models {model}"
            )
        features.pop(key)


def _of_another_dataset(preset: str, dataset: NamedDataset) -> bool:
    """Whether the preset is named after a registered dataset that `dataset` is not made from.

    "cub" and "cub-zsl" are named after cub; a preset with any other name is of no dataset.
    """
    owners = [e for e in DATASETS.entries() if preset == e.name or preset.startswith(f"{e.name}-")]
    return bool(owners) and not dataset.made_from(max(owners, key=lambda e: len(e.name)))


def _without_encoder(preset: Layer) -> Layer:
    """The preset without the settings of a backbone."""
    features = preset.values.get("features")
    if not isinstance(features, Mapping):
        return preset
    kept = {key: value for key, value in features.items() if key not in ENCODER_KEYS}
    return replace(preset, values={**preset.values, "features": kept})


def make_features(
    dataset: str | Path | NamedDataset,
    *,
    settings: GivenSettings = (),
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> FeatureConfig:
    """The section `features` as a run without a preset would have it.

    Merges dataset defaults < config file < settings < overrides. Other sections of the config file
    belong to the model and are ignored.

    Raises:
        UserError: As `make_plan`.
    """
    layers = [_defaults(find_dataset(dataset))]
    if config is not None:
        file = read_yaml(config)
        layers.append(replace(file, values={"features": file.values.get("features") or {}}))
    given = parse_given(settings)
    if strange := next((key for key in given.values if key != "features"), None):
        raise UserError(
            f"--set {strange!r} says nothing of features; "
            "here keys begin with features., such as features.reduction=16"
        )
    layers += [given, Layer({"features": nested(overrides or {})}, "option")]
    return build(FeatureConfig, merge(layers).section("features"), "features")


def _defaults(dataset: NamedDataset) -> Layer:
    return Layer({"features": dict(dataset.defaults)}, f"dataset {dataset.word}")


def _preset(
    entry: Entry, model_class: type[Model], preset: str | None, dataset: NamedDataset
) -> Path | None:
    """File of the named preset; without a name, the dataset's or default.yaml, else None.

    A name may be that of a family: `fast` is DATASET-fast.yaml, else fast.yaml.
    """
    known = presets_of(model_class)
    named = dataset.word.rpartition(":")[2]
    if preset is None:
        return known.get(named) or known.get("default")
    if found := known.get(f"{named}-{preset}") or known.get(preset):
        return found
    if not known:
        raise UserError(
            f"{entry.name} comes without presets, so there is no preset {preset!r}; "
            "leave --preset away"
        )
    families = {name.removeprefix(f"{named}-") for name in known}
    near = did_you_mean(preset, families | known.keys())
    raise UserError(f"{entry.name} has no preset {preset!r} for {named}{near}")


def presets_of(model_class: type[Model]) -> dict[str, Path]:
    """Presets that the model brings: name -> file."""
    home = folder_of(model_class)
    if not model_class.presets or home is None:
        return {}
    return {path.stem: path for path in sorted((home / model_class.presets).glob("*.yaml"))}
