"""Every dataset has a preset for generalized and one for conventional ZSL, and the model reads
each."""

from __future__ import annotations

from pathlib import Path

import pytest

import zslkit_dedn
from zslkit.config import FeatureConfig, build
from zslkit.config.merge import merge, read_yaml
from zslkit.runs.plan import make_plan
from zslkit_dedn.model import DEDN, DEDNConfig

FOLDER = Path(str(zslkit_dedn.__file__)).parent / DEDN.presets
DATASETS = ("awa2", "cub", "cub2010", "digits", "sun")


def read(name: str) -> tuple[FeatureConfig, DEDNConfig]:
    settings = merge([read_yaml(FOLDER / f"{name}.yaml")])
    features = build(FeatureConfig, settings.section("features"), "features")
    return features, build(DEDNConfig, settings, name)


FAST = {"cub2010": "cub2010-fast"}
"""Datasets with a fast preset of their own; `fast` is for all others."""


def test_there_is_one_for_each_dataset_and_protocol() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {
        *(f"{name}{end}" for name in DATASETS for end in ("", "-zsl")),
        *FAST.values(),
        "default",
        "fast",
    }


@pytest.mark.parametrize("dataset", FAST)
def test_fast_is_the_same_model_in_a_fifth_of_the_images(dataset: str) -> None:
    features, whole = read(dataset)
    fast_features, fast = read(FAST[dataset])
    assert fast_features == features
    a, b = fast.train, whole.train
    assert 5 * a.epochs * a.batch_size * (a.steps_per_epoch or 1) <= (
        b.epochs * b.batch_size * (b.steps_per_epoch or 1)
    )
    assert fast.model_dump(exclude={"train"}) == whole.model_dump(exclude={"train"})


@pytest.mark.parametrize(
    ("dataset", "file"),
    [("cub2010", "cub2010-fast"), ("digits", "fast"), ("flo", "fast"), ("sun", "fast")],
)
def test_fast_is_one_flag_away(dataset: str, file: str) -> None:
    plan = make_plan("dedn", dataset, preset="fast")
    assert plan.origins["train.lr"] == f"preset {file}.yaml"


@pytest.mark.parametrize("name", DATASETS)
def test_both_protocols_see_the_same_features(name: str) -> None:
    assert read(name)[0] == read(f"{name}-zsl")[0]


@pytest.mark.parametrize(
    ("name", "lambda_cal", "c_mix", "e_mix", "m_true", "rank"),
    [
        ("cub", 0.0, 0.8, 0.9, 3.0, None),
        ("cub-zsl", 0.18, 0.6, 0.9, 3.0, None),
        ("cub2010-zsl", 0.18, 0.6, 0.9, 3.0, None),
        ("sun", 0.0, 0.95, 0.3, 2.0, 256),
        ("sun-zsl", 0.0, 0.95, 0.3, 2.0, 128),
        ("awa2", 0.11, 0.8, 0.5, 2.0, None),
    ],
)
def test_the_released_runs_values(
    name: str, lambda_cal: float, c_mix: float, e_mix: float, m_true: float, rank: int | None
) -> None:
    _, config = read(name)
    assert (config.lambda_cal, config.c_mix, config.e_mix, config.m_true, config.rank) == (
        lambda_cal,
        c_mix,
        e_mix,
        m_true,
        rank,
    )
