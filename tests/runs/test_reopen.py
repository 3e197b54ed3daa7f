"""A finished run opened again: the same scores as when it was made, and a sentence where it cannot
be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from zslkit.dataset import Dataset
from zslkit.errors import DataError, UserError
from zslkit.readers.images import ArrayImages
from zslkit.runs import api
from zslkit.runs.load import LoadedRun, load_with_dataset
from zslkit.runs.trained import TrainedModel
from zslkit.training.scoring import score

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
BRIEF = ("features.pretrain_epochs=1", "train.epochs=1", "protocol.watch_test=0")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("ZSLKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A brief run on maps of a backbone that was trained on trainval."""
    return api.run(
        "dedn", "digits", settings=BRIEF, device="cpu", out=tmp_path_factory.mktemp("runs")
    ).folder


@pytest.fixture(scope="module")
def trained(finished: Path) -> LoadedRun:
    return load_with_dataset(finished)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / finished.name))


@pytest.fixture
def edited(copied: Path) -> Callable[..., Path]:
    """edited(section, key=value, ...): the run with another record."""

    def edit(section: str, **values: Any) -> Path:
        record = json.loads((copied / "record.json").read_text())
        record[section].update(values)
        (copied / "record.json").write_text(json.dumps(record))
        (copied / "config.yaml").write_text(json.dumps(record["config"]))
        return copied

    return edit


def photo(dataset: Dataset, index: int, to: Path) -> Path:
    assert dataset.images is not None
    file = to / f"{index}.png"
    dataset.images.open(index).save(file)
    return file


def inputs_of(trained: LoadedRun, photos: list[Path]) -> torch.Tensor:
    return TrainedModel(trained).inputs(photos)


def same_scores(trained: LoadedRun) -> bool:
    index = trained.dataset.split.test_unseen[:30]
    kept = trained.run.scores().test_unseen_scores[:30]
    return np.allclose(score(trained.model, trained.inputs.source, index, CPU), kept, atol=1e-3)


@pytest.mark.slow
def test_it_scores_as_when_it_was_made(trained: LoadedRun) -> None:
    assert not trained.model.training
    assert same_scores(trained)
    assert trained.plan.values == trained.run.record.config


def test_an_image_file_is_eaten_as_the_dataset_s_own_image_is(
    trained: LoadedRun, tmp_path: Path
) -> None:
    index = trained.dataset.split.test_seen[[0, 40, 400]]
    files = [photo(trained.dataset, int(i), tmp_path) for i in index]
    assert torch.allclose(inputs_of(trained, files), trained.inputs.source.batch(index), atol=1e-4)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(trained.photos(files), trained.photos_at(index), strict=True)
    )


def test_features_of_files_are_rounded_as_the_store_rounds(
    trained: LoadedRun, tmp_path: Path
) -> None:
    file = photo(trained.dataset, 3, tmp_path)
    half = replace(
        trained,
        plan=replace(
            trained.plan, features=trained.plan.features.model_copy(update={"dtype": "bfloat16"})
        ),
    )
    assert torch.equal(inputs_of(half, [file]), inputs_of(trained, [file]).bfloat16().float())


def test_pooled_inputs_are_means_over_positions(trained: LoadedRun, tmp_path: Path) -> None:
    pooled = replace(trained, inputs=replace(trained.inputs, kind="pooled"))
    file = photo(trained.dataset, 3, tmp_path)
    assert torch.allclose(
        inputs_of(pooled, [file]),
        inputs_of(trained, [file]).mean(dim=(2, 3)),
        atol=1e-5,
    )


def test_the_weights_of_trainval_are_found_whatever_the_number_of_threads(
    finished: Path, cache: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        load_with_dataset(finished)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert len(list((cache / "weights").glob("*.safetensors"))) == 1


@pytest.mark.slow
def test_a_backbone_that_was_trained_along_comes_from_the_run(cache: Path, tmp_path: Path) -> None:
    settings = (*BRIEF, "features.weights=random", "train.steps_per_epoch=1", "train.batch_size=8")
    overrides = {"features": {"input": "image"}}
    tuned = load_with_dataset(
        api.run(
            "dedn", "digits", settings=settings, overrides=overrides, device="cpu", out=tmp_path
        ).folder
    )
    index = tuned.dataset.split.test_seen[:2]
    eaten = inputs_of(tuned, [photo(tuned.dataset, int(i), tmp_path) for i in index])
    assert torch.equal(eaten, tuned.inputs.source.batch(index)) and eaten.shape == (2, 3, 48, 112)
    assert same_scores(tuned)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((16, 16), "of 16x16 pixels is too small for the backbone"),
        ((224, 96), "of 224x96 pixels does not fit"),
    ],
)
def test_an_image_of_another_size_is_refused_where_images_are_taken_as_they_are(
    trained: LoadedRun, tmp_path: Path, size: tuple[int, int], words: str
) -> None:
    Image.new("RGB", size).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=words) as error:
        inputs_of(trained, [tmp_path / "x.png"])
    assert str(tmp_path / "x.png") in str(error.value) and "112x48" in str(error.value)


def test_what_is_no_image_is_named(trained: LoadedRun, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no image")
    for path, words in (
        (tmp_path / "none.png", "There is no image"),
        (tmp_path, "is no image file"),
        (tmp_path / "x.png", "cannot be read"),
    ):
        with pytest.raises(DataError, match=words) as error:
            inputs_of(trained, [path])
        assert str(path) in str(error.value)


def test_features_that_came_along_say_that_images_are_needed(
    trained: LoadedRun, tmp_path: Path
) -> None:
    bare = replace(
        trained.dataset,
        images=None,
        features=np.zeros((len(trained.dataset.labels), 2), dtype=np.float32),
    )
    with pytest.raises(UserError, match=r"features that came with digits.*a run on images or maps"):
        inputs_of(replace(trained, dataset=bare), [photo(trained.dataset, 0, tmp_path)])


@pytest.mark.parametrize(
    ("prints", "words"),
    [
        ({"split": "0" * 16}, r"differs from digits as it is here in its split \("),
        ({"semantics": "0" * 16}, r"here in its semantics \("),
        ({"split": "0" * 16, "semantics": "1" * 16}, r"here in its split and semantics \("),
        (
            {"features": "0" * 16},
            r"here in its features \(.*images or weights of test_resnet have changed",
        ),
    ],
)
def test_other_data_than_the_run_s_are_refused_by_name(
    edited: Callable[..., Path], prints: dict[str, str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        load_with_dataset(edited("fingerprints", **prints))


def test_a_model_that_is_not_installed_or_has_other_settings_is_named(
    edited: Callable[..., Path],
) -> None:
    with pytest.raises(
        DataError, match=r"do not fit dedn of zslkit .*no setting 'c_mx'.*\"c_mix\""
    ):
        load_with_dataset(edited("config", c_mx=0.5))
    with pytest.raises(
        UserError, match=r"the model dedn of zoo 0\.1\.0, which is not installed; install it"
    ):
        load_with_dataset(edited("model", distribution="zoo"))


def _missing(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _garbage(file: Path) -> None:
    file.write_bytes(b"no weights")


def _transposed(file: Path) -> None:
    weights = load_file(file)
    save_file({k: v.T.contiguous() if k.endswith("W2") else v for k, v in weights.items()}, file)


def _renamed(file: Path) -> None:
    weights = load_file(file)
    save_file({k.replace("coarse.V", "coarse.U"): v for k, v in weights.items()}, file)


def _whole_numbers(file: Path) -> None:
    weights = load_file(file)
    save_file({k: v.int() if k.endswith("W2") else v for k, v in weights.items()}, file)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_missing, "is missing"),
        (_pipe, "is cut off or damaged \\(it is no file\\)"),
        (_whole_numbers, "W2 holds int32 where float32 belongs"),
        (_cut, "is cut off or damaged"),
        (_garbage, "is cut off or damaged"),
        (_transposed, "does not fit DEDN as it is installed: 4 of"),
        (_renamed, "does not fit DEDN as it is installed: 2 of"),
    ],
)
def test_weights_that_cannot_be_used_are_one_sentence(
    copied: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(copied / "model.safetensors")
    with pytest.raises(DataError, match=words) as error:
        load_with_dataset(copied)
    assert "model.safetensors" in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def card(tmp_path: Path, cache: Path) -> Path:
    """A dataset of one's own with three classes of four images each."""
    rng = np.random.default_rng(0)
    images = ArrayImages(rng.integers(0, 256, (12, 48, 48), dtype=np.uint8))
    for i in range(12):
        (tmp_path / "images" / "abc"[i // 4]).mkdir(parents=True, exist_ok=True)
        images.open(i).save(tmp_path / "images" / "abc"[i // 4] / f"{i}.png")
    (tmp_path / "classes.csv").write_text("class,red,round\na,1,0\nb,0,1\nc,1,1\n")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "{name: mine, images: images, attributes: classes.csv, unseen: [c], "
        "features: {backbone: test_resnet, weights: random, size: 32, dtype: float32}}"
    )
    return file


def test_a_card_is_remembered_or_given(card: Path, tmp_path: Path) -> None:
    folder = api.run("eszsl", str(card), device="cpu", out=tmp_path / "runs").folder
    again = load_with_dataset(folder)
    index = again.dataset.split.test_unseen
    assert np.allclose(
        score(again.model, again.inputs.source, index, CPU),
        again.run.scores().test_unseen_scores,
        atol=1e-4,
    )
    Image.new("RGB", (9, 5)).save(tmp_path / "tiny.png")
    assert again.photos([tmp_path / "tiny.png"])[0].shape == (
        32,
        32,
        3,
    )  # this run's images are brought to one size
    moved = card.rename(tmp_path / "moved.yaml")
    with pytest.raises(
        UserError,
        match=r"no registered dataset; if a card describes it, say --data-root FILE\.yaml",
    ):
        load_with_dataset(folder)
    assert load_with_dataset(folder, moved).dataset.name == "mine"
