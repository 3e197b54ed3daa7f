"""Sizes of images: networks built for another size, their weights, and the share that is
cropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from zslkit.config import FeatureConfig
from zslkit.errors import UserError
from zslkit.features.backbones import Transform, below_usual, load_backbone
from zslkit.features.extract import store_bytes


def config(**changes: Any) -> FeatureConfig:
    return FeatureConfig.model_validate({"weights": "random"} | changes)


def map_shape(backbone: str, size: Any, **changes: Any) -> tuple[int, int, int]:
    loaded = load_backbone(config(backbone=backbone, size=size, **changes))
    assert loaded.transform.size is not None
    return loaded.map_shape(*loaded.transform.size)


@pytest.mark.parametrize(
    ("backbone", "size", "shape"),
    [
        ("deit_tiny_patch16_224", 448, (192, 28, 28)),
        ("deit_tiny_patch16_224", (96, 160), (192, 6, 10)),
        ("eva02_tiny_patch14_224", 448, (192, 32, 32)),
        ("vit_tiny_patch16_224", 64, (192, 4, 4)),
        ("test_vit", 448, (64, 28, 28)),  # it takes any size as it is
        ("test_coatnet", 448, (128, 14, 14)),
        ("crossvit_tiny_240", 480, (192, 28, 28)),
        ("test_resnet", "own", (96, 5, 5)),
        ("tf_efficientnet_lite1", "own", (1280, 8, 8)),  # 240 px
        ("tf_efficientnet_lite2", "own", (1280, 9, 9)),  # 260 px
    ],
)
def test_a_network_takes_the_size_that_is_asked_for(
    backbone: str, size: Any, shape: tuple[int, int, int]
) -> None:
    assert map_shape(backbone, size) == shape


@pytest.mark.parametrize(
    ("changes", "size", "told"),
    [
        ({}, (128, 128), True),
        ({}, (128, 256), False),  # one side is enough
        ({}, (224, 224), False),
        ({"size": 128}, (128, 128), False),  # asked for
        ({"weights": "trainval"}, (128, 128), False),  # trained on images of this very size
    ],
)
def test_small_photos_that_are_taken_as_they_are_are_told(
    changes: dict[str, Any], size: tuple[int, int], told: bool
) -> None:
    asked = config(**{"backbone": "tf_efficientnet_lite0", "weights": "auto"} | changes)
    said = below_usual(asked, size)
    assert ("128x128 px" in said and "224x224" in said and "features.size=own" in said) == told
    assert bool(said) == told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        ("swin_tiny_patch4_window7_224", (768, 14, 14)),
        ("swinv2_cr_tiny_224", (768, 14, 14)),
        ("vit_small_patch14_dinov2", (384, 32, 32)),
        ("vit_small_patch16_dinov3", (384, 28, 28)),
    ],
)
def test_larger_transformers_take_448_px(backbone: str, shape: tuple[int, int, int]) -> None:
    assert map_shape(backbone, 448) == shape


def test_the_disk_space_of_a_larger_size_is_known_before() -> None:
    need = store_bytes(10, config(backbone="deit_tiny_patch16_224", size=448), 448, 448)
    assert need == 10 * (192 * 28 * 28 * 2 + 192 * 4)


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("crossvit_tiny_240", 448),  # it would shrink the photos in silence
        ("efficientformer_l1", 448),
        ("vit_tiny_patch16_224", 8),
    ],
)
def test_a_size_that_a_network_cannot_take_is_told(backbone: str, size: int) -> None:
    with pytest.raises(UserError) as caught:
        map_shape(backbone, size)
    told = str(caught.value)
    assert told.startswith(f"{backbone} cannot take images of {size}x{size} pixels (")
    assert told.endswith("to another size, or to own for the size that it was made for")


def saved(folder: Path, name: str, **how: Any) -> Path:
    torch.manual_seed(3)
    torch.save(timm.create_model(name, **how).state_dict(), folder / "w.pth")
    return folder / "w.pth"


@pytest.mark.parametrize(
    ("name", "side"),
    [("vit_tiny_patch16_224", 448), ("deit_tiny_patch16_224", 112), ("test_coatnet", 320)],
)
def test_position_tables_of_a_file_are_resized_as_timm_does_it(
    tmp_path: Path, name: str, side: int
) -> None:
    path = saved(tmp_path, name)
    ours = load_backbone(config(backbone=name, weights=str(path), size=side))
    theirs = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, img_size=side
    ).state_dict()
    assert ours.state.keys() == theirs.keys()
    assert all(torch.equal(ours.state[k], v) for k, v in theirs.items())
    resized = [k for k, v in torch.load(path).items() if v.shape != theirs[k].shape]
    assert resized and all("pos" in k for k in resized)


def test_a_file_of_the_size_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path, "vit_tiny_patch16_224", img_size=96)
    loaded = load_backbone(config(backbone="vit_tiny_patch16_224", weights=str(path), size=96))
    assert all(torch.equal(loaded.state[k], v) for k, v in torch.load(path).items())


def test_a_file_for_other_patches_is_still_refused(tmp_path: Path) -> None:
    """timm would resize the patches' weights as well; those are other features."""
    path = saved(tmp_path, "vit_tiny_patch16_224")
    state = torch.load(path)
    torch.save(state | {"patch_embed.proj.weight": torch.zeros(192, 3, 8, 8)}, path)
    with pytest.raises(UserError, match=r"does not fit this backbone: 2 of \d+ tensors"):
        load_backbone(config(backbone="vit_tiny_patch16_224", weights=str(path), size=448))


def test_the_usual_size_builds_the_usual_network() -> None:
    asked = load_backbone(config(backbone="vit_tiny_patch16_224", size=224))
    free = load_backbone(config(backbone="vit_tiny_patch16_224"))
    own = load_backbone(config(backbone="vit_tiny_patch16_224", size="own"))
    assert asked.digest == free.digest == own.digest
    assert own.transform == asked.transform and asked.sized is own.sized is None


PHOTOS = [(300, 450), (451, 333), (97, 64), (64, 64)]


@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95])
@pytest.mark.parametrize("size", PHOTOS)
def test_crop_pct_gives_the_pixels_of_timm(size: tuple[int, int], crop_pct: float) -> None:
    from timm.data import create_transform

    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    theirs = create_transform(
        64, crop_pct=crop_pct, interpolation="bicubic", mean=(0.0,) * 3, std=(1.0,) * 3
    )(photo)
    ours = Transform((64, 64), (0.0,) * 3, (1.0,) * 3, "bicubic", crop_pct).pixels(photo)
    np.testing.assert_array_equal(ours, (theirs.permute(1, 2, 0) * 255).round().to(torch.uint8))


def test_crop_pct_own_is_what_the_backbone_was_trained_with() -> None:
    own = load_backbone(config(backbone="test_resnet", size=64, crop_pct="own")).transform
    assert own.crop_pct == timm.get_pretrained_cfg("test_resnet").crop_pct


def test_a_crop_without_a_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"features\.crop_pct=0\.9 says how far .*set features\.si"):
        load_backbone(config(backbone="test_resnet", crop_pct=0.9))
