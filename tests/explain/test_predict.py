"""`zslkit predict`: the stored scores of test images again, from their files; and what becomes of
files that cannot be read."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zslkit.cli.app import main
from zslkit.errors import DataError, UserError
from zslkit.explain.prediction import FoundPhotos, images_of, predict
from zslkit.features.preprocess import Preprocessor
from zslkit.runs import api
from zslkit.runs.load import LoadedRun, load_with_dataset
from zslkit.runs.trained import TrainedModel

BRIEF = ("features.weights=random", "protocol.watch_test=0")
MODELS = {
    "dedn": (
        *BRIEF,
        "train.epochs=2",
        "train.steps_per_epoch=4",
        "protocol.calibration=validation",
    ),
    "eszsl": BRIEF,
    "ridge": BRIEF,
    "apn": (*BRIEF, "features.input=image", "train.epochs=1", "train.steps_per_epoch=2"),
}


@pytest.fixture(scope="module")
def folders(digits_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A brief run of models on maps, pooled features (with and without attribute scores) and
    images."""
    out = tmp_path_factory.mktemp("runs")
    return {
        name: api.run(name, "digits", settings=s, device="cpu", out=out).folder
        for name, s in MODELS.items()
    }


@pytest.fixture(scope="module")
def photos(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 images of each test set as PNG, in two folders."""
    data, home = load_with_dataset(folders["eszsl"]).dataset, tmp_path_factory.mktemp("photos")
    for name, index in (("a", data.split.test_seen), ("b", data.split.test_unseen)):
        (home / name).mkdir()
        for k in range(21):
            data.images.open(int(index[k])).save(home / name / f"{k:02d}.png")
    return home


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_all_that_is_wrong_with_run_and_images_is_named_at_once(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("there.png")
    assert main([command, "runs/none", "a.png", "there.png", "b.png"]) == 2
    told = capsys.readouterr().err
    assert "There is no run folder runs/none" in told
    assert "There is no image a.png, b.png; check the path" in told and "there.png" not in told


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_photos_of_the_test_sets_get_the_scores_that_the_run_kept(
    folders: dict[str, Path], photos: Path, name: str
) -> None:
    trained = load_with_dataset(folders[name])
    data, kept = trained.dataset, trained.run.scores()
    found = list(predict(trained, images_of([photos]), top=len(data.classes)))
    stored = (
        np.concatenate([kept.test_seen_scores[:21], kept.test_unseen_scores[:21]])
        + trained.gamma * ~data.seen
    )
    assert [p.image.parent.name for p in found] == ["a"] * 21 + ["b"] * 21
    for one, row in zip(found, stored, strict=True):
        scores = {a.name: a.score for a in one.answers}
        np.testing.assert_allclose(
            [scores[c] for c in data.classes], row, rtol=1e-4, atol=1e-4 * np.abs(row).max()
        )
        assert [a.score for a in one.answers] == sorted(scores.values(), reverse=True)
        assert all(a.seen == data.seen[data.classes.index(a.name)] for a in one.answers)
        assert sum(a.share for a in one.answers) == pytest.approx(1)


@pytest.mark.parametrize("name", ["dedn", "eszsl"])
def test_attributes_that_spoke_for_a_class_are_its_own_times_what_the_model_found(
    folders: dict[str, Path], photos: Path, name: str
) -> None:
    trained = load_with_dataset(folders[name])
    image = photos / "b" / "03.png"
    (one,) = predict(trained, [FoundPhotos(image, named=True)], attributes=4)
    with torch.inference_mode():
        s = trained.model.evidence(TrainedModel(trained).inputs([image]))[0].double().numpy()
    names = trained.dataset.semantics.names
    for answer in one.answers:
        given = (
            trained.model.attributes[trained.dataset.classes.index(answer.name)].double().numpy()
            * s
        )
        best = np.argsort(-given)[:4]
        assert answer.attributes == tuple(
            (names[i], pytest.approx(given[i])) for i in best if given[i] > 0
        )
    if name == "eszsl":  # every point of the score comes from an attribute
        answer, k = one.answers[0], trained.dataset.classes.index(one.answers[0].name)
        assert answer.score == pytest.approx(
            float(trained.model.attributes[k].double().numpy() @ s), rel=1e-4
        )


def test_a_model_without_attribute_scores_names_none(
    folders: dict[str, Path], photos: Path
) -> None:
    (one,) = predict(
        load_with_dataset(folders["ridge"]), [FoundPhotos(photos / "a" / "00.png", named=True)]
    )
    assert [a.attributes for a in one.answers] == [()] * 5


def test_only_the_classes_in_question_are_answered_and_share_the_whole(
    folders: dict[str, Path], photos: Path
) -> None:
    trained = load_with_dataset(folders["dedn"])
    for among, seen in (("seen", True), ("unseen", False)):
        for one in predict(trained, images_of([photos / "a"]), top=200, among=among):
            assert {a.seen for a in one.answers} == {seen}
            assert sum(a.share for a in one.answers) == pytest.approx(1)


SHAPES: dict[str, Callable[[Path], None]] = {
    "one pixel.png": lambda p: Image.new("RGB", (1, 1), "red").save(p),
    "grey.png": lambda p: Image.new("L", (300, 20)).save(p),
    "palette.gif": lambda p: Image.new("P", (33, 90)).save(p),
    "cmyk.jpg": lambda p: Image.new("CMYK", (64, 64)).save(p),
    "see-through.webp": lambda p: Image.new("RGBA", (40, 50), (1, 2, 3, 4)).save(p),
    "large.jpg": lambda p: Image.new("RGB", (4000, 3000), "blue").save(p),
}


@pytest.fixture(scope="module")
def sized(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A run whose backbone brings images to one size."""
    settings = (*BRIEF, "features.size=32")
    return load_with_dataset(
        api.run(
            "eszsl", "digits", settings=settings, device="cpu", out=tmp_path_factory.mktemp("sized")
        ).folder
    )


@pytest.mark.slow
def test_photos_of_any_size_and_mode_are_answered(sized: LoadedRun, tmp_path: Path) -> None:
    for name, save in SHAPES.items():
        save(tmp_path / name)
    found = list(predict(sized, images_of([tmp_path])))
    assert {p.image.name for p in found} == set(SHAPES)
    assert all(len(p.answers) == 5 and not p.fault for p in found)


@pytest.mark.slow
def test_a_spoilt_image_in_a_folder_is_left_out_and_one_that_is_named_is_an_error(
    sized: LoadedRun, tmp_path: Path
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "fine.png")
    (tmp_path / "spoilt.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    fine, spoilt = predict(sized, images_of([tmp_path]))
    assert (len(fine.answers), fine.fault) == (5, "")
    assert spoilt.answers == () and "spoilt.png cannot be read" in spoilt.fault
    with pytest.raises(DataError, match=r"spoilt\.png cannot be read"):
        list(predict(sized, images_of([tmp_path / "spoilt.png"])))


def test_places_are_files_and_folders_each_image_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "deep/er/c.webp", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    found = images_of([tmp_path / "b.png", tmp_path])
    assert [(f.path.relative_to(tmp_path).as_posix(), f.named) for f in found] == [
        ("b.png", True),
        ("a.JPG", False),
        ("deep/er/c.webp", False),
    ]
    with pytest.raises(UserError, match=r"no image .*none\.png; check the path"):
        images_of([tmp_path / "none.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="There is no image in the folder"):
        images_of([tmp_path / "empty"])


@pytest.mark.slow
def test_no_more_than_a_batch_is_held_at_once(
    sized: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    opened: list[Path] = []
    monkeypatch.setattr(
        Preprocessor,
        "photo",
        lambda self, path: opened.append(path) or np.zeros((32, 32, 3), np.uint8),
    )
    for k, _ in enumerate(predict(sized, [FoundPhotos(tmp_path / "one.png", named=True)] * 80)):
        assert len(opened) <= (k // 16 + 1) * 16


@pytest.mark.parametrize("form", ["table", "csv", "json", "jsonl"])
def test_every_form_tells_the_same(
    folders: dict[str, Path], photos: Path, tmp_path: Path, form: str
) -> None:
    wanted = [
        p.answers[0]
        for p in predict(load_with_dataset(folders["eszsl"]), images_of([photos / "b"]))
    ]
    file = tmp_path / "out"
    assert (
        main(
            [
                "predict",
                str(folders["eszsl"]),
                str(photos / "b"),
                "--format",
                form,
                "--out",
                str(file),
                "--top",
                "2",
            ]
        )
        == 0
    )
    text = file.read_text()
    if form == "table":
        blocks = text.split("\n\n")
        told = [block.splitlines()[2].split()[0] for block in blocks]
    elif form == "csv":
        told = [row["class"] for row in csv.DictReader(text.splitlines()) if row["rank"] == "1"]
    else:
        images = (
            json.loads(text)["images"]
            if form == "json"
            else [json.loads(line) for line in text.splitlines()]
        )
        told = [image["classes"][0]["class"] for image in images]
        assert images[0]["classes"][0]["score"] == pytest.approx(wanted[0].score)
    assert told == [answer.name for answer in wanted]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


@pytest.mark.slow
def test_a_table_commands_no_terminal_and_is_utf8(
    folders: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    for name in (b"caf\xe9.png", b"\x1b[31mred\n.png"):
        (tmp_path / os.fsdecode(name)).write_bytes((photos / "a" / "00.png").read_bytes())
    (tmp_path / "2021").mkdir()
    Image.open(photos / "a" / "00.png").save(tmp_path / "2021" / "x.JFIF", "JPEG")
    (tmp_path / "notes.txt").touch()
    command = [
        sys.executable,
        "-P",
        "-m",
        "zslkit",
        "predict",
        str(folders["eszsl"]),
        str(tmp_path),
        "--top",
        "1",
    ]
    for form in ("csv", "jsonl", "table"):
        done = subprocess.run([*command, "--format", form], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode("utf-8")
        assert "\x1b" not in text
        assert b"1 file does not count: 1 .txt" in done.stderr
        if form == "csv":
            names = [Path(row["image"]).name for row in csv.DictReader(text.splitlines())]
            assert names == ["\\x1b[31mred\\n.png", "x.JFIF", "caf\\xe9.png"]
        elif form == "jsonl":  # its escapes stand for the very names
            assert [Path(json.loads(line)["image"]).name for line in text.splitlines()][
                2
            ] == os.fsdecode(b"caf\xe9.png")


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own(
    folders: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "spoilt.png").write_bytes(b"no image")
    Image.open(photos / "a" / "00.png").save(tmp_path / "fine.png")
    command = [sys.executable, "-P", "-m", "zslkit", "predict", str(folders["eszsl"])]
    done = subprocess.run(
        [*command, str(tmp_path), "--json"], capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [len(told["images"]), len(told["left_out"])] == [1, 1]
    assert "1 of 2 images are left out, since they cannot be read" in done.stderr
    (tmp_path / "kept").write_text("as it was")
    done = subprocess.run(
        [*command, str(tmp_path / "spoilt.png"), "--out", str(tmp_path / "kept")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "spoilt.png cannot be read" in done.stderr.splitlines()[-1]
    assert (tmp_path / "kept").read_text() == "as it was"
    (tmp_path / "fine.png").unlink()
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "None of the 1 images can be read" in done.stderr
