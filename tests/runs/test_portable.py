"""A run answers without its dataset, as with it; and what it takes instead of one is told when it
is missing or damaged."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zslkit.cli.app import main
from zslkit.errors import DataError, UserError
from zslkit.explain.prediction import Prediction, images_of, predict
from zslkit.runs import api, load_portable
from zslkit.runs.class_info import FILE, read
from zslkit.runs.folders import load_run
from zslkit.runs.load import load_with_dataset
from zslkit.runs.load_portable import load_without_dataset
from zslkit.runs.scores import put

BRIEF = ("features.weights=random", "features.size=32", "protocol.watch_test=0")
MODELS = {
    "dazle": (*BRIEF, "train.epochs=1", "word_vectors=random"),
    "eszsl": BRIEF,
    "apn": (*BRIEF, "features.input=image", "train.epochs=1", "train.steps_per_epoch=2"),
}
CARD = """
name: mine
images: images
attributes: classes.csv
unseen: [c4, c5]
features: {backbone: test_resnet, weights: random, size: 32}
"""


def dataset(home: Path) -> Path:
    """Six classes of ten pictures of one colour each."""
    home.mkdir()
    (home / "classes.csv").write_text(
        "class,red,green,blue\n"
        + "".join(f"c{k},{k & 1},{(k >> 1) & 1},{k / 5}\n" for k in range(6)),
        encoding="utf-8",
    )
    rng = np.random.default_rng(0)
    for k in range(6):
        (home / "images" / f"c{k}").mkdir(parents=True)
        for i in range(10):
            pixels = (
                np.array([k & 1, (k >> 1) & 1, k / 5]) * 200 + rng.integers(0, 50, (40, 40, 3))
            ).astype(np.uint8)
            Image.fromarray(pixels).save(home / "images" / f"c{k}" / f"{i}.png")
    (home / "card.yaml").write_text(CARD, encoding="utf-8")
    return home / "card.yaml"


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, tuple[Path, list[Prediction]]]]:
    """Runs on a dataset that is gone by now, each with what it answered to two photos while it was
    there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSLKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        home, out = tmp_path_factory.mktemp("home") / "mine", tmp_path_factory.mktemp("runs")
        card, made = dataset(home), {}
        for name, settings in MODELS.items():
            folder = api.run(name, str(card), settings=settings, device="cpu", out=out).folder
            made[name] = (
                folder,
                list(
                    predict(
                        load_with_dataset(folder), images_of([photos(out.parent / "photos")]), top=6
                    )
                ),
            )
        shutil.rmtree(home)
        yield made


def photos(home: Path) -> Path:
    home.mkdir(exist_ok=True)
    Image.new("RGB", (50, 70), (200, 10, 40)).save(home / "a.png")
    Image.new("RGB", (32, 32), (10, 220, 160)).save(home / "b.png")
    return home


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_without_its_dataset_a_run_answers_as_with_it(
    runs: dict[str, Any], tmp_path: Path, name: str
) -> None:
    folder, before = runs[name]
    with pytest.raises(UserError):
        load_with_dataset(folder)
    now = list(
        predict(load_without_dataset(folder), images_of([photos(tmp_path / "photos")]), top=6)
    )
    assert [[a.name for a in one.answers] for one in now] == [
        [a.name for a in one.answers] for one in before
    ]
    for one, former in zip(now, before, strict=True):
        assert [a.score for a in one.answers] == pytest.approx(
            [a.score for a in former.answers], rel=1e-5
        )
        assert [dict(a.attributes) for a in one.answers] == [
            pytest.approx(dict(a.attributes), rel=1e-4) for a in former.answers
        ]
        assert [a.seen for a in one.answers] == [
            a.name in ("c0", "c1", "c2", "c3") for a in one.answers
        ]


def test_the_command_needs_no_data_root(
    runs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, before = runs["eszsl"]
    assert (
        main(
            ["predict", str(folder), str(photos(tmp_path / "photos")), "--json", "--device", "cpu"]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert [image["classes"][0]["class"] for image in told["images"]] == [
        one.answers[0].name for one in before
    ]
    assert told["dataset"] == "mine"


@pytest.fixture
def copied(runs: dict[str, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["eszsl"][0], tmp_path / "run"))


def test_an_older_run_says_that_it_needs_the_dataset_and_why(copied: Path) -> None:
    (copied / FILE).unlink()
    with pytest.raises(
        UserError,
        match=rf"images of mine are needed to open {copied}, since it holds no {FILE}.*older "
        r"zslkit",
    ):
        load_without_dataset(copied)


def test_an_older_run_whose_dataset_is_there_is_opened_by_it(tmp_path: Path) -> None:
    card = dataset(tmp_path / "mine")
    folder = api.run("eszsl", str(card), settings=BRIEF, device="cpu", out=tmp_path / "runs").folder
    (folder / FILE).unlink()
    assert load_without_dataset(folder).model.task.classes == tuple(f"c{k}" for k in range(6))


def test_a_backbone_that_was_trained_on_the_dataset_asks_for_it(tmp_path: Path) -> None:
    card = dataset(tmp_path / "mine")
    settings = ("features.weights=trainval", "features.pretrain_epochs=1", "features.size=32")
    folder = api.run(
        "eszsl", str(card), settings=settings, device="cpu", out=tmp_path / "runs"
    ).folder
    assert load_without_dataset(folder).run.folder == folder
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(
        UserError, match=r"images of mine are needed .* since its backbone was trained on them"
    ):
        load_without_dataset(folder)


def test_a_backbone_with_other_weights_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = load_portable.load_backbone
    monkeypatch.setattr(
        load_portable,
        "load_backbone",
        lambda config: there(config.model_copy(update={"backbone": "test_vit"})),
    )
    with pytest.raises(DataError, match=r"are not those that .* was made with"):
        load_without_dataset(copied)


def rewritten(path: Path, **changes: Any) -> None:
    with np.load(path, allow_pickle=False) as old:
        arrays = {name: old[name] for name in old.files} | changes
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            put(archive, name, array)


def packed(path: Path) -> None:
    with np.load(path, allow_pickle=False) as old:
        np.savez_compressed(path, **{name: old[name] for name in old.files})


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:300]), "cut off or damaged"),
    "text": (lambda p: p.write_text("classes"), "cut off or damaged"),
    "a pipe": (lambda p: (p.unlink(), os.mkfifo(p)), "it is no file"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "it is no file"),
    "packed": (packed, "is packed"),
    "a pickle": (lambda p: np.savez(p, classes=np.array([{}], dtype=object)), "cut off or damaged"),
    "other classes": (
        lambda p: rewritten(p, classes=np.array(list("abcdef"))),
        "does not hold the classes",
    ),
    "other attributes": (
        lambda p: rewritten(p, attributes=np.ones((6, 3), np.float32)),
        "does not hold the classes",
    ),
    "numbers for names": (
        lambda p: rewritten(p, names=np.arange(3.0)),
        r"names is float64 of shape \(3,\)",
    ),
    "not finite": (
        lambda p: rewritten(p, attributes=np.full((6, 3), np.nan, np.float32)),
        "not finite",
    ),
    "groups without end": (
        lambda p: rewritten(p, groups=np.array("[" * 100_000)),
        "cut off or damaged",
    ),
    "groups that are none": (lambda p: rewritten(p, groups=np.array("[1]")), "cut off or damaged"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_told_in_one_sentence_with_the_way_out(copied: Path, how: str) -> None:
    spoil, said = DAMAGE[how]
    spoil(copied / FILE)
    with pytest.raises(DataError, match=said) as caught:
        read(load_run(copied))
    assert (
        str(copied / FILE) in str(caught.value)
        and "move it away" in str(caught.value)
        and "\n" not in str(caught.value)
    )


def test_what_is_kept_is_what_the_dataset_gave(runs: dict[str, Any]) -> None:
    known = read(load_run(runs["dazle"][0]))
    assert known is not None
    assert (
        known.semantics.names == ("red", "green", "blue")
        and known.seen.tolist() == [True] * 4 + [False] * 2
    )
    assert known.semantics.attributes[5].tolist() == [1.0, 0.0, 1.0]
