"""One network of every family that the installed timm has: map, own pooling, and old features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from zslkit.config import FeatureConfig
from zslkit.errors import UserError
from zslkit.features.backbones import untrained
from zslkit.features.maps import MapNetwork, PooledNetwork

FAST = (
    *("convnext", "crossvit", "efficientformer", "efficientnet", "efficientvim", "hiera"),
    *("levit", "mambaout", "mvitv2", "pit", "resnet", "swin_transformer", "vision_transformer"),
)
"""Modules tried in every run of the tests; all others in the slow one."""
PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"
NOT_ON_META = ("gemma4_vit",)


def family_cases() -> list[Any]:
    """All modules of the installed timm; those outside of FAST are slow."""
    return [
        pytest.param(module, marks=[] if module in FAST else pytest.mark.slow)
        for module in sorted({*timm.list_modules()} - {*NOT_ON_META})
    ]


def printed(module: str) -> list[str]:
    """Cells of a module's row in docs/backbones.md; skips the test if timm has no such network."""
    table = PAGE.read_text(encoding="utf-8").partition("<!-- families -->\n")[2]
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in table.splitlines()]
    row = next((row for row in rows if row[0] == module), None)
    if row is None:
        pytest.skip(f"docs/backbones.md was written before timm had {module}")
    if row[1] not in timm.list_models(module=module):
        pytest.skip(f"timm {timm.__version__} has no {row[1]}")
    return row


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name).eval()


@pytest.mark.parametrize("module", family_cases())
def test_every_family_gives_the_map_and_the_pooling_that_the_page_prints(module: str) -> None:
    _, name, side, shape, width, _ = printed(module)
    network = on_meta(name)
    assert network.pretrained_cfg["input_size"][-2:] == (int(side), int(side))
    images = torch.zeros(2, 3, int(side), int(side), device="meta")
    with torch.inference_mode():
        maps, pooled = MapNetwork(network)(images), PooledNetwork(network)(images)
    assert tuple(maps.shape) == (2, *map(int, shape.split(" x ")))
    assert tuple(pooled.shape) == (2, int(width), 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("module", family_cases())
def test_every_family_takes_twice_its_size_as_the_page_prints(module: str) -> None:
    _, name, side, shape, _, sizes = printed(module)
    asked = FeatureConfig(backbone=name, size=2 * int(side))
    if sizes == "no":
        with pytest.raises(UserError, match=f"{name} cannot take images of"):
            untrained(asked)
        return
    with torch.device("meta"), torch.inference_mode():
        made = untrained(asked)
        maps = MapNetwork(made.network.eval())(torch.zeros(1, 3, *made.size))
    assert (made.sized is None) == (sizes != "built for it")
    channels, rows, _ = map(int, shape.split(" x "))
    assert maps.shape[1] == channels
    assert (maps.shape[2] == rows) if sizes == "to the same grid" else maps.shape[2] >= 1.6 * rows


@pytest.mark.slow
def test_an_encoder_without_a_head_gives_a_map_and_says_that_it_pools_nothing() -> None:
    name = "deepseek_vit_412m_enc"
    if name not in timm.list_models():
        pytest.skip(f"timm {timm.__version__} has no {name}")
    with torch.device("meta"), torch.inference_mode():
        network, images = timm.create_model(name).eval(), torch.zeros(1, 3, 546, 546)
        assert MapNetwork(network)(images).shape == (1, 1024, 39, 39)
        with pytest.raises(UserError, match=r"has no pooling of its own; leave"):
            PooledNetwork(network)(images)


def earlier(network: Any, images: Tensor) -> Tensor:
    """The maps as the harness made them before it used timm's forward_intermediates."""
    y: Tensor = network.forward_features(images)
    if y.ndim == 3:
        y = y[:, getattr(network, "num_prefix_tokens", 0) :]
        height, width = network.patch_embed.grid_size
        return y.mT.reshape(len(y), -1, int(height), int(width))
    if getattr(network, "output_fmt", "NCHW") == "NHWC":
        return y.permute(0, 3, 1, 2)
    return y


def small_swin() -> nn.Module:
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(
        img_size=64, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(1, 2)
    )


NETWORKS = {
    "resnet": lambda: timm.create_model("test_resnet"),
    "vit": lambda: timm.create_model("test_vit", img_size=64),
    "vit with registers": lambda: timm.create_model("test_vit2", img_size=64),
    "swin": small_swin,
    "convnext": lambda: timm.create_model("test_convnext"),
    "efficientnet": lambda: timm.create_model("test_efficientnet"),
    "efficientnet-lite": lambda: timm.create_model("tf_efficientnet_lite0"),
    "mobilenet": lambda: timm.create_model("mobilenetv3_small_050"),
    "byobnet": lambda: timm.create_model("test_byobnet"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_features_that_were_right_stay_the_same_to_the_bit(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        before, now = earlier(network, images), MapNetwork(network)(images)
    assert torch.equal(before, now)
    # The memory format decides the order of the sum.
    assert torch.equal(before.mean(dim=(2, 3)), now.mean(dim=(2, 3)))


def test_a_network_that_meta_tensors_cannot_try_gives_maps_too() -> None:
    if "gemma4_vit_167m" not in timm.list_models():
        pytest.skip(f"timm {timm.__version__} has no gemma4_vit")
    network = timm.create_model("gemma4_vit_167m", depth=1).eval()
    with torch.inference_mode():
        images = torch.zeros(1, 3, 96, 144)
        maps, pooled = MapNetwork(network)(images), PooledNetwork(network)(images)
    assert tuple(maps.shape) == (1, 768, 6, 9)
    assert tuple(pooled.shape) == (1, 768, 1, 1)
