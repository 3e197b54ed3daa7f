"""Weights made from trainval: of the seen classes' own images and nothing else, the same ones every
time, and made once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from zslkit.config import FeatureConfig
from zslkit.dataset import Dataset, Split
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import DataError, TrainingError
from zslkit.features.backbones import Backbone, load_backbone
from zslkit.readers.images import ArrayImages
from zslkit.runs.plan import make_features
from zslkit.semantics import Semantics
from zslkit.training import pretrain
from zslkit.training.pretrain import trainval_weights
from zslkit.utils.progress import Silent

LABELS = np.repeat(np.arange(5), 6)  # classes 0, 1, 2 are seen
SPLIT = Split(
    np.flatnonzero((LABELS < 3) & (np.arange(30) % 6 > 0)), np.arange(0, 18, 6), np.arange(18, 30)
)
NAMES = ("red", "green", "blue", "dark")


class TrainvalOnly(ArrayImages):
    """Images whose test images cannot be opened."""

    def open(self, index: int) -> Image.Image:
        assert index in SPLIT.trainval, f"the test image {index} was read"
        return super().open(index)


class Closed(ArrayImages):
    def open(self, index: int) -> Image.Image:
        raise AssertionError("an image was read for weights that were there already")


@cache
def start() -> Backbone:
    return load_backbone(FeatureConfig(backbone="mobilenetv3_small_050", weights="random", size=32))


def photos(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Noise, each class of a colour of its own."""
    rng = np.random.default_rng(seed)
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 0], [0, 200, 200]])
    return (colours[LABELS][:, None, None] + rng.integers(0, 56, (30, 32, 32, 3))).astype(np.uint8)


def made_up(kind: type[ArrayImages] = TrainvalOnly) -> Dataset:
    table = np.array(
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0]], np.float32
    )
    return Dataset(
        "made-up", tuple("abcde"), LABELS, SPLIT, Semantics(table, NAMES), images=kind(photos())
    )


def weights_of(dataset: Dataset, epochs: int = 1, using: Backbone | None = None) -> Path:
    return trainval_weights(dataset, using or start(), epochs, torch.device("cpu"), Silent())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretrain, "BATCH", 5)
    return tmp_path / "cache"


def test_only_trainval_images_are_read_and_all_of_them(own_cache: Path) -> None:
    opened: list[int] = []

    class Noted(TrainvalOnly):
        def open(self, index: int) -> Image.Image:
            opened.append(index)
            return super().open(index)

    file = weights_of(made_up(Noted))
    assert set(opened) == set(SPLIT.trainval.tolist())
    assert file.parent == own_cache / "weights"
    assert [f.name for f in file.parent.iterdir() if f.suffix != ".lock"] == [file.name]


def test_the_weights_are_those_of_a_trained_network_that_loads(tmp_path: Path) -> None:
    config = FeatureConfig(backbone="mobilenetv3_small_050", size=32)
    trained = load_backbone(config, weights_of(made_up()), "trained here")
    assert trained.label == "trained here"
    assert trained.digest != start().digest
    assert all(v.isfinite().all() for v in trained.state.values())
    changed = [k for k, v in trained.state.items() if not torch.equal(v, start().state[k])]
    assert any(k.startswith("conv_stem") for k in changed), (
        "the whole network is trained, its first layer too"
    )


def test_the_network_learns_to_name_the_seen_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "BATCH", 15)  # all at once
    losses: list[float] = []

    class Noting(Silent):
        def advance(self, n: int = 1, **figures: float) -> None:
            losses.append(figures["loss"])

    trainval_weights(made_up(), start(), 20, torch.device("cpu"), Noting())
    assert len(losses) == 20
    assert losses[-1] < 0.1 * losses[0]


def test_the_same_weights_come_out_whatever_happened_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    first = weights_of(made_up())
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "another"))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = weights_of(made_up())
    assert torch.equal(torch.get_rng_state(), state), (
        "a run's own randomness goes on as if nothing had been trained"
    )
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    assert first != second


def test_weights_are_made_once() -> None:
    file = weights_of(made_up())
    before = file.stat().st_mtime_ns
    assert weights_of(made_up(Closed)) == file
    assert file.stat().st_mtime_ns == before


def test_what_is_not_seen_does_not_move_the_weights() -> None:
    dataset = made_up()
    array = photos()
    array[18:] = 255 - array[18:]
    table = dataset.semantics.attributes.copy()
    table[3:] = 0.5
    other = replace(dataset, images=TrainvalOnly(array), semantics=Semantics(table, NAMES))
    one, two = (load_file(weights_of(d)) for d in (dataset, other))
    assert all(torch.equal(v, two[k]) for k, v in one.items())


def variants() -> dict[str, tuple[Dataset, int, Backbone]]:
    """Datasets, epochs and starts that all make other weights."""
    d, b = made_up(), start()
    labels = LABELS.copy()
    labels[SPLIT.trainval[:2]] = 1
    table = d.semantics.attributes.copy()
    table[0, 3] = 1
    moved = Split(np.array([0, *SPLIT.trainval[1:]]), np.array([1, 6, 12]), SPLIT.test_unseen)
    return {
        "epochs": (d, 2, b),
        "images": (replace(d, images=TrainvalOnly(photos(1))), 1, b),
        "labels": (replace(d, labels=labels), 1, b),
        "attributes": (replace(d, semantics=Semantics(table, NAMES)), 1, b),
        "split": (replace(d, split=moved), 1, b),
        "start": (d, 1, replace(b, digest="another")),
        "size": (d, 1, replace(b, transform=replace(b.transform, size=(64, 64)))),
    }


@pytest.mark.parametrize(
    "what", ["epochs", "images", "labels", "attributes", "split", "start", "size"]
)
def test_whatever_moves_the_weights_makes_another_file(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "_train", lambda *arguments: {"w": torch.zeros(1)})
    assert weights_of(*variants()[what]) != weights_of(made_up())


def test_the_number_of_threads_moves_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / str(count)))
            torch.set_num_threads(count)
            made.append(weights_of(made_up()))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert (made[0].name, made[0].read_bytes()) == (made[1].name, made[1].read_bytes())


def test_weights_are_of_half_precision() -> None:
    state = load_file(weights_of(made_up()))
    assert {v.dtype for v in state.values() if v.is_floating_point()} == {torch.float16}


def test_weights_that_come_along_are_taken_on_every_device_and_from_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "SHIPPED", tmp_path)
    file = pretrain.shipped_file(made_up(), start(), 1)
    file.write_bytes(b"weights")
    for other in (start(), replace(start(), digest="of another version")):
        for device in ("cpu", "cuda"):
            found = trainval_weights(made_up(Closed), other, 1, torch.device(device), Silent())
            assert found == file
    assert weights_of(made_up(), epochs=2) != file


@pytest.mark.parametrize("part", [None, 0])
def test_the_built_in_digits_come_with_weights(
    part: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "BATCH", 64)
    digits = load_dataset("digits")
    config = make_features("digits")
    begin = load_backbone(config.model_copy(update={"weights": "random"}))
    data = digits if part is None else digits.fold(0, part)
    assert pretrain.shipped_file(data, begin, config.pretrain_epochs).is_file()


def test_another_device_makes_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "_train", lambda *arguments: {"w": torch.zeros(1)})
    files = {
        trainval_weights(made_up(), start(), 1, torch.device(d), Silent()) for d in ("cpu", "cuda")
    }
    assert len(files) == 2


def test_a_fold_has_weights_of_its_own_without_the_classes_it_holds_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pretrain, "BATCH", 4)  # the fold trains on 8 images
    opened: set[int] = set()

    class Noted(TrainvalOnly):
        def open(self, index: int) -> Image.Image:
            opened.add(index)
            return super().open(index)

    dataset = made_up(Noted)
    fold = dataset.fold(0)
    file = weights_of(fold)
    assert opened == set(fold.split.trainval.tolist())
    assert not opened & {*fold.split.test_seen.tolist(), *fold.split.test_unseen.tolist()}
    assert file != weights_of(dataset)


def test_features_alone_train_no_backbone() -> None:
    bare = replace(made_up(), images=None, features=np.zeros((30, 4), np.float32))
    with pytest.raises(
        DataError, match=r"made-up has features but no images.*use its pooled features"
    ):
        weights_of(bare)


def test_training_that_breaks_down_names_the_network_and_leaves_no_file(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "PEAK_LR", 1e38)
    with pytest.raises(
        TrainingError,
        match=r"mobilenetv3_small_050 on trainval diverged in epoch \d; choose another backbone",
    ):
        weights_of(made_up(), epochs=4)
    assert not list((own_cache / "weights").glob("*.safetensors"))


def test_an_interruption_leaves_no_file(own_cache: Path) -> None:
    class Interrupted(TrainvalOnly):
        def open(self, index: int) -> Image.Image:
            if index == SPLIT.trainval[-1]:
                raise KeyboardInterrupt
            return super().open(index)

    with pytest.raises(KeyboardInterrupt):
        weights_of(made_up(Interrupted))
    assert not list((own_cache / "weights").glob("*.safetensors"))
    assert load_file(weights_of(made_up()))
