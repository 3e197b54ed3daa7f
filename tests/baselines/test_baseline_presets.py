"""Every preset of this package is read as the model reads it."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from generative_toys import MODELS as GENERATIVE
from test_linear_baselines import MODELS as LINEAR
from zslkit_baselines.apn import APN
from zslkit_baselines.dazle import DAZLE
from zslkit_baselines.eszsl import ESZSL
from zslkit_baselines.gem import GEMZSL
from zslkit_baselines.msdn import MSDN
from zslkit_baselines.transzero import TransZero

from zslkit.config import FeatureConfig, ProtocolConfig, TrainConfig, build
from zslkit.config.merge import merge, read_yaml
from zslkit.model import Model
from zslkit.training.sampling import batches

MODELS: dict[str, type[Model]] = {
    "apn": APN, "dazle": DAZLE, "eszsl": ESZSL, "gem": GEMZSL, "msdn": MSDN,
    "transzero": TransZero, **LINEAR, **GENERATIVE
}  # fmt: skip
FILES = [
    path
    for model in MODELS.values()
    for path in sorted((Path(inspect.getfile(model)).parent / model.presets).glob("*.yaml"))
]


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("model", MODELS)
def test_there_is_a_preset_for_each_dataset(model: str) -> None:
    assert {path.stem for path in FILES if path.parent.name == model} == {
        "awa2",
        "cub",
        "cub2010",
        "default",
        "digits",
        "sun",
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_preset_is_a_valid_configuration(path: Path) -> None:
    model = MODELS[path.parent.name]
    settings = merge([read_yaml(path)])
    features = build(FeatureConfig, settings.section("features"), "features")
    build(ProtocolConfig, settings.section("protocol"), "protocol")
    build(model.Config, settings, path.parent.name)
    assert features.input in model.inputs


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_value_names_its_source(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if re.match(r"\s*\w+: *[^#\s]", line):
            assert re.search(r"# \S", line), f"{path.name}:{number} has a value without a source"


def loop_of(model: str, dataset: str) -> TrainConfig:
    """Settings of the loop in a preset."""
    (path,) = (p for p in FILES if (p.parent.name, p.stem) == (model, dataset))
    settings = merge([read_yaml(path)])
    for section in ("features", "protocol"):
        settings.section(section)
    train: TrainConfig = build(MODELS[model].Config, settings, model).train  # type: ignore[attr-defined]
    return train


@pytest.mark.parametrize("dataset", ["awa2", "cub", "sun"])
def test_a_batch_of_gem_zsl_has_two_images_of_sixteen_classes(dataset: str) -> None:
    train = loop_of("gem", dataset)
    labels = np.tile(np.arange(40), 5)
    (batch,) = batches(labels, train.sampling, train.batch_size, 1, 0, 0, train.images_per_class)
    assert len(set(batch)) == 32
    assert sorted(Counter(labels[batch]).values()) == [2] * 16


@pytest.mark.parametrize("model", ["dazle", "msdn", "transzero"])
def test_a_batch_on_awa2_has_one_image_of_each_of_its_forty_classes(model: str) -> None:
    train = loop_of(model, "awa2")
    labels = np.tile(np.arange(40), 5)
    (batch,) = batches(labels, train.sampling, train.batch_size, 1, 0, 0, train.images_per_class)
    assert sorted(labels[batch]) == list(range(40))


@pytest.mark.parametrize("dataset", ["awa2", "cub", "sun"])
def test_apn_has_a_new_adam_in_every_epoch(dataset: str) -> None:
    train = loop_of("apn", dataset)
    assert (train.optimizer, train.fresh_optimizer) == ("adam", True)
