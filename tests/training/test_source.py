"""What a model is fed with: what it prefers of what there is and was asked for, by image index,
under a fingerprint of all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zslkit.config import FeatureConfig, Input
from zslkit.dataset import Dataset, Split
from zslkit.errors import UserError
from zslkit.features.backbones import load_backbone
from zslkit.features.store import images_digest
from zslkit.readers.images import ArrayImages
from zslkit.semantics import Semantics
from zslkit.training import inputs as subject
from zslkit.training.inputs import Inputs, choose_input, prepare
from zslkit.utils.progress import Silent

LABELS = np.array([0, 0, 1, 1, 2, 2])
FEATURES = np.arange(12, dtype=np.float64).reshape(6, 2)


def made_up(images: bool = True, seed: int = 0) -> Dataset:
    split = Split(np.array([0, 2]), np.array([1, 3]), np.array([4, 5]))
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 32, 64, 3), dtype=np.uint8)
    given: dict[str, Any] = {"images": ArrayImages(pixels)} if images else {"features": FEATURES}
    return Dataset(
        "made-up",
        tuple("abc"),
        LABELS,
        split,
        Semantics(np.eye(3, dtype=np.float32), tuple("xyz")),
        **given,
    )


def config(**changes: Any) -> FeatureConfig:
    return FeatureConfig(
        **{"backbone": "mobilenetv3_small_050", "weights": "random", "dtype": "float32", **changes}
    )


def inputs(kind: Input, dataset: Dataset | None = None, **changes: Any) -> Inputs:
    return prepare(dataset or made_up(), config(**changes), kind, torch.device("cpu"), Silent())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))


P: Input = "pooled"
M: Input = "map"
I: Input = "image"  # noqa: E741


@pytest.mark.parametrize(
    ("accepted", "asked", "chosen"),
    [
        ((M, P), "auto", M),
        ((P, M), "auto", P),
        ((I, M), "auto", I),
        ((I, M), "frozen", M),
        ((I, P, M), "frozen", P),
        ((M, P), "pooled", P),
        ((P, M, I), "image", I),
    ],
)
def test_a_model_gets_what_it_prefers_of_what_is_asked_for(
    accepted: tuple[Input, ...], asked: str, chosen: str
) -> None:
    assert choose_input(accepted, config(input=asked), made_up(), "mine") == chosen


@pytest.mark.parametrize("asked", ["auto", "frozen", "pooled"])
def test_without_images_it_is_the_features_that_came_along(asked: str) -> None:
    assert choose_input((M, I, P), config(input=asked), made_up(images=False), "mine") == P


@pytest.mark.parametrize(
    ("accepted", "asked"), [((M, P), "image"), ((P,), "map"), ((I,), "frozen")]
)
def test_what_a_model_does_not_take_is_told_with_what_it_takes(
    accepted: tuple[Input, ...], asked: str
) -> None:
    with pytest.raises(UserError) as caught:
        choose_input(accepted, config(input=asked), made_up(), "mine")
    assert (
        str(caught.value)
        == f"mine takes {' or '.join(accepted)} inputs, not {asked}; set features.input accordingly"
    )


@pytest.mark.parametrize(
    ("accepted", "asked", "takes"),
    [
        ((M,), "auto", "map"),
        ((M, I), "auto", "map or image"),
        ((P, M), "map", "map"),
        ((I, M), "frozen", "map"),
    ],
)
def test_a_dataset_without_images_says_what_to_prepare(
    accepted: tuple[Input, ...], asked: str, takes: str
) -> None:
    with pytest.raises(UserError) as caught:
        choose_input(accepted, config(input=asked), made_up(images=False), "mine")
    mend = "put its images below --data-root, or import feature maps (zslkit data import)"
    assert (
        str(caught.value)
        == f"mine takes {takes} inputs, and made-up has only pooled features here; {mend}"
    )


def test_given_features_come_as_they_are_and_need_no_backbone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        subject, "load_backbone", lambda *arguments: pytest.fail("a backbone was asked for")
    )
    got = inputs("pooled", made_up(images=False))
    x = got.source.batch(np.array([4, 1]))
    assert x.dtype == torch.float32
    assert x.tolist() == [[8, 9], [2, 3]]
    assert (got.kind, got.feature_shape, got.map_shape, got.build_backbone) == (
        "pooled",
        (2,),
        None,
        None,
    )
    assert (got.backbone, got.weights, got.image_size, got.tuned) == (
        "as given",
        "as given",
        None,
        False,
    )
    other = replace(made_up(images=False), features=FEATURES + 1)
    assert (
        inputs("pooled", other).fingerprint
        != got.fingerprint
        == inputs("pooled", made_up(images=False)).fingerprint
    )


def test_map_pooled_and_image_are_one_network_seen_from_three_sides() -> None:
    index = np.array([5, 0, 2])
    maps, pooled, images = (inputs(kind) for kind in (M, P, I))
    x = maps.source.batch(index)
    d, h, w = maps.feature_shape
    assert (h, w) == (1, 2) and x.shape == (3, d, h, w)
    torch.testing.assert_close(pooled.source.batch(index), x.mean(dim=(2, 3)))
    assert pooled.feature_shape == (d,)
    assert images.build_backbone is not None
    with torch.inference_mode():
        through = images.build_backbone().eval()(images.source.batch(index))
    torch.testing.assert_close(through, x, rtol=1e-4, atol=1e-5 * float(x.abs().max()))
    assert images.feature_shape == (3, 32, 64) and images.source.batch(index).shape == (
        3,
        3,
        32,
        64,
    )
    assert [i.map_shape for i in (maps, pooled, images)] == [(d, 1, 2), None, (d, 1, 2)]
    assert [i.tuned for i in (maps, pooled, images)] == [False, False, True]
    assert [i.build_backbone is None for i in (maps, pooled)] == [True, True]
    assert maps.fingerprint == pooled.fingerprint, "one store holds both"


@pytest.mark.parametrize("kind", [M, P, I])
def test_what_a_record_says_of_the_features(kind: Input) -> None:
    got = inputs(kind, size=(64, 32))
    assert (got.kind, got.backbone, got.weights, got.image_size) == (
        kind,
        "mobilenetv3_small_050",
        "random",
        (64, 32),
    )
    assert got.weights_digest == load_backbone(config()).digest


@pytest.mark.parametrize("kind", [M, P, I])
def test_other_images_have_another_fingerprint(kind: Input) -> None:
    assert inputs(kind, made_up(seed=1)).fingerprint != inputs(kind).fingerprint


@pytest.mark.parametrize("kind", [M, P])
def test_another_size_has_another_fingerprint(kind: Input) -> None:
    assert inputs(kind, size=64).fingerprint != inputs(kind).fingerprint


@pytest.mark.parametrize("kind", [M, P, I])
def test_another_backbone_has_another_fingerprint(kind: Input) -> None:
    assert inputs(kind, backbone="lcnet_035").fingerprint != inputs(kind).fingerprint


def test_features_are_read_from_the_store_only_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = inputs("map")
    monkeypatch.setattr(ArrayImages, "open", lambda self, index: only_first(self, index))
    again = inputs("map")
    assert torch.equal(again.source.batch(np.arange(6)), first.source.batch(np.arange(6)))


def only_first(images: ArrayImages, index: int) -> Any:
    from PIL import Image

    assert index == 0, "an image was decoded for features that are there"
    return Image.fromarray(images.array[0])


def test_trainval_weights_start_random_and_are_named_by_their_epochs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def trained(
        dataset: Dataset,
        start: Any,
        epochs: int,
        device: torch.device,
        reporter: Any,
        content: str,
    ) -> Path:
        assert dataset.images is not None and content == images_digest(dataset.images)
        asked.append((dataset.name, start.label, start.transform, epochs))
        state = {k: v + 1 if k == "conv_stem.weight" else v for k, v in start.state.items()}
        torch.save(state, tmp_path / "trained.pth")
        return tmp_path / "trained.pth"

    monkeypatch.setattr(subject, "trainval_weights", trained)
    got = inputs("map", weights="trainval", pretrain_epochs=7, size=32)
    random = load_backbone(config(size=32))
    assert asked == [("made-up", "random", random.transform, 7)]
    assert got.weights == "trained on trainval, 7 epochs"
    assert got.weights_digest != random.digest
    assert got.fingerprint != inputs("map", size=32).fingerprint


def test_trainval_weights_of_the_real_recipe_are_used() -> None:
    got = inputs("image", weights="trainval", pretrain_epochs=1, size=32)
    assert got.build_backbone is not None
    start = load_backbone(config(size=32)).state
    state = got.build_backbone().network.state_dict()  # type: ignore[union-attr]
    assert any(not torch.equal(value, start[name]) for name, value in state.items())


@pytest.mark.parametrize("kind", ["map", "pooled", "image"])
def test_a_models_own_encoder_stands_in_for_the_backbone(kind: Input) -> None:
    dataset, encoder = made_up(), load_backbone(config(size=32))
    own = prepare(dataset, config(backbone="nosuch"), kind, torch.device("cpu"), Silent(), encoder)
    usual = inputs(kind, dataset, size=32)
    assert (own.backbone, own.weights_digest, own.fingerprint) == (
        encoder.name,
        encoder.digest,
        usual.fingerprint,
    )
    index = np.arange(3)
    assert torch.equal(own.source.batch(index), usual.source.batch(index))


def test_an_own_encoder_is_not_fed_with_features_of_another_network() -> None:
    with pytest.raises(
        UserError,
        match="has to see the images, and made-up has only features of another network here",
    ):
        prepare(
            made_up(images=False),
            config(),
            "pooled",
            torch.device("cpu"),
            Silent(),
            load_backbone(config(size=32)),
        )


def test_the_content_is_of_the_images_whatever_is_made_of_them() -> None:
    first = inputs("pooled")
    assert (
        {inputs("map").content, inputs("pooled", dtype="float16").content, first.content}
        == {first.content}
        != {""}
    )
    other = inputs("pooled", made_up(seed=1))
    assert other.content != first.content
    assert made_up(seed=1).fingerprints() == made_up().fingerprints(), (
        "labels and sets are the same"
    )
    given = inputs("pooled", made_up(images=False))
    assert given.content == given.fingerprint
