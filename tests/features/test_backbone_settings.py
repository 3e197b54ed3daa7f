"""Settings of the backbone that came later: defaults leave stores and runs as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from zslkit.config import FeatureConfig, Input
from zslkit.dataset import Dataset
from zslkit.errors import UserError
from zslkit.features.backbones import load_backbone
from zslkit.features.extract import store_key
from zslkit.testing.tiny import tiny_dataset
from zslkit.training.inputs import choose_input


def config(**changes: Any) -> FeatureConfig:
    return FeatureConfig.model_validate(
        {"backbone": "mobilenetv3_small_050", "weights": "random", "size": 32} | changes
    )


def test_usual_values_are_not_written_and_others_are() -> None:
    usual = config(pooling="mean", crop_pct=1.0).model_dump()
    assert "pooling" not in usual and "crop_pct" not in usual
    other = config(pooling="own", crop_pct="own").model_dump()
    assert other["pooling"] == other["crop_pct"] == "own"


def test_the_key_of_a_store_is_the_same_as_before_for_usual_values() -> None:
    backbone = replace(load_backbone(config()), digest="d" * 16)
    assert repr(backbone.transform) == (
        "Transform(size=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), "
        "interpolation='bicubic')"
    )
    assert store_key("content", backbone, "float16") == "38d93c791d54127c"


def test_each_other_value_has_a_store_of_its_own() -> None:
    values: list[dict[str, Any]] = [{}, {"pooling": "own"}, {"crop_pct": 0.9}, {"size": "own"}]
    backbones = [load_backbone(config(**more)) for more in values]
    assert len({store_key("c", b, "float16") for b in backbones}) == len(values)


def test_own_pooling_is_what_the_classifier_of_the_network_reads() -> None:
    import timm

    backbone = load_backbone(config(pooling="own"))
    network = timm.create_model("mobilenetv3_small_050").eval()
    network.load_state_dict(dict(backbone.state))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        pooled = backbone.build().eval()(images).mean(dim=(2, 3))
        assert torch.equal(network.classifier(pooled), network(images))
    assert backbone.map_shape(32, 32) == (1024, 1, 1)
    assert load_backbone(config()).map_shape(32, 32) == (288, 1, 1)


def test_own_pooling_and_a_stride_exclude_each_other() -> None:
    with pytest.raises(
        UserError, match=r"features\.reduction=16 .*set features\.reduction=null, or"
    ):
        load_backbone(config(pooling="own", reduction=16))


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return tiny_dataset()


def test_own_pooling_feeds_pooled_features(tiny: Dataset) -> None:
    assert choose_input(("map", "pooled"), config(pooling="own"), tiny, "mine") == "pooled"


@pytest.mark.parametrize("accepted", [("map",), ("image",), ("map", "image")])
def test_own_pooling_is_refused_for_a_model_of_maps(
    tiny: Dataset, accepted: tuple[Input, ...]
) -> None:
    assert set(accepted) < set(get_args(Input))
    with pytest.raises(UserError, match=r"mine takes (map|image).*; leave features\.pooling at"):
        choose_input(accepted, config(pooling="own"), tiny, "mine")
