"""Every dataset has a preset for generalized and one for conventional ZSL, and the model reads each."""

from __future__ import annotations

from pathlib import Path

import pytest

import zslkit_dedn
from zslkit.config import FeatureConfig, build
from zslkit.config.merge import merge, read_yaml
from zslkit_dedn.model import DEDN, DEDNConfig

FOLDER = Path(str(zslkit_dedn.__file__)).parent / DEDN.presets
DATASETS = ("awa2", "cub", "cub2010", "digits", "sun")


def read(name: str) -> tuple[FeatureConfig, DEDNConfig]:
    settings = merge([read_yaml(FOLDER / f"{name}.yaml")])
    features = build(FeatureConfig, settings.section("features"), "features")
    return features, build(DEDNConfig, settings, name)


def test_there_is_one_for_each_dataset_and_protocol() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {
        f"{name}{end}" for name in DATASETS for end in ("", "-zsl")
    } | {"default"}


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
