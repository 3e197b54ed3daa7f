"""Explanations: contributions and localisation of known maps by hand, and the command on tiny runs
of digits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calls import Go, caller
from known_maps import PEAKS, A, H, Toy, W, maps_at
from PIL import Image
from torch import Tensor

from zslkit.errors import UserError
from zslkit.evaluation.metrics import seen_unseen_margin
from zslkit.explain.explanation import Localisation, cropped, explain, localisation
from zslkit.explain.heatmaps import upsampled
from zslkit.features.backbones import Transform
from zslkit.model import AttentionMaps
from zslkit.runs import api
from zslkit.runs.load import LoadedRun, load_with_dataset
from zslkit.training.scoring import score

CASES = 7814
"""Attributes that the true classes of the 850 test images have, counted from the table of
classes."""


@pytest.fixture(scope="module")
def folders(digits_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A brief run of each model on a random backbone."""
    out = tmp_path_factory.mktemp("runs")
    brief = ("features.weights=random", "protocol.watch_test=0")
    settings = {
        "dedn": (*brief, "train.epochs=2", "train.steps_per_epoch=4"),
        "dazle": (*brief, "train.epochs=2", "train.steps_per_epoch=4"),
        "eszsl": brief,
    }
    return {
        name: api.run(name, "digits", settings=s, device="cpu", out=out).folder
        for name, s in settings.items()
    }


@pytest.fixture(scope="module")
def dedn(folders: dict[str, Path]) -> LoadedRun:
    return load_with_dataset(folders["dedn"])


@pytest.fixture(scope="module")
def toy(dedn: LoadedRun) -> Callable[..., LoadedRun]:
    """toy(parts, s): the run with a model whose maps and attribute scores are known."""

    def make(parts: dict[str, AttentionMaps], s: Tensor | None = None) -> LoadedRun:
        return replace(
            dedn, model=Toy(dedn.model.task, parts, torch.zeros(A) if s is None else s).eval()
        )

    return make


def some(trained: LoadedRun, count: int = 2) -> Tensor:
    return trained.inputs.source.batch(trained.some_test_images(count))


@pytest.mark.slow
def test_a_contribution_is_what_the_class_has_times_what_was_found(
    toy: Callable[..., LoadedRun],
) -> None:
    s = torch.linspace(-1, 1, A)
    made = toy(
        {"one": AttentionMaps(torch.zeros(A, H, W), s), "two": AttentionMaps(torch.zeros(A, H, W))},
        s,
    )
    (found, *_) = explain(made, some(made))
    k = made.dataset.classes.index(found.predicted)
    contributions = found.parts["one"].contributions
    assert contributions is not None and found.parts["two"].contributions is None
    assert np.allclose(contributions, made.model.attributes[k].numpy() * s.numpy())
    assert contributions.sum() == pytest.approx(
        found.scores[0]
    )  # without bias they are the whole score
    assert list(found.attributes) == np.argsort(-contributions, kind="stable")[:5].tolist()


def test_the_attributes_that_gave_most_over_all_parts_are_shown(
    toy: Callable[..., LoadedRun],
) -> None:
    one, two = torch.zeros(A), torch.zeros(A)
    one[[0, 18, 36]] = torch.tensor([10.0, 9.0, 8.0])  # the three zeros
    two[[0, 18, 36]] = torch.tensor([-4.0, 0.0, 0.0])
    blank = torch.zeros(A, H, W)
    made = toy({"one": AttentionMaps(blank, one), "two": AttentionMaps(blank, two)}, one)
    (found, *_) = explain(made, some(made), top=3)
    assert found.predicted == "000" and found.attributes == (18, 36, 0)
    (named, *_) = explain(made, some(made), ["units one", "tens zero", "units one"])
    assert named.attributes == (37, 18)


def test_without_scores_those_are_shown_that_the_class_has(toy: Callable[..., LoadedRun]) -> None:
    made = toy({"only": AttentionMaps(torch.zeros(A, H, W))})
    (found, *_) = explain(made, some(made), top=4)
    k = made.dataset.classes.index(found.predicted)
    assert (
        all(made.dataset.semantics.attributes[k, c] for c in found.attributes)
        and len(found.attributes) == 4
    )


def test_channels_are_named_strongest_first(toy: Callable[..., LoadedRun]) -> None:
    channels = torch.zeros(A, 9)
    channels[:, [4, 7, 1, 0, 8, 2]] = torch.tensor([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    (found, *_) = explain(
        made := toy({"p": AttentionMaps(torch.zeros(A, H, W), None, channels)}), some(made)
    )
    assert found.parts["p"].channels is not None
    assert found.parts["p"].channels[11].tolist() == [4, 7, 1, 0, 8]


@pytest.mark.parametrize("gamma", [0.0, 2.5])
def test_the_predicted_class_is_the_evaluator_s(dedn: LoadedRun, gamma: float) -> None:
    record = dedn.run.record
    protocol = record.protocol.model_copy(update={"gamma": gamma})
    calibrated = replace(
        dedn, run=replace(dedn.run, record=record.model_copy(update={"protocol": protocol}))
    )
    index = dedn.some_test_images(40)
    found = explain(calibrated, dedn.inputs.source.batch(index))
    answers = seen_unseen_margin(
        score(dedn.model, dedn.inputs.source, index, dedn.device), dedn.dataset.seen
    ).answers(gamma)
    assert [e.predicted for e in found] == [dedn.dataset.classes[k] for k in answers]
    assert all(
        (np.diff(e.scores) <= 0).all() and sorted(e.classes) == list(dedn.dataset.classes)
        for e in found
    )


def test_looking_in_the_right_third_is_right_and_elsewhere_wrong(
    toy: Callable[..., LoadedRun],
) -> None:
    parts = {
        "right": AttentionMaps(maps_at(PEAKS)),
        "wrong": AttentionMaps(maps_at((PEAKS[1], PEAKS[2], PEAKS[0]))),
    }
    found = localisation(toy(parts))
    assert (found["right"].right, found["wrong"].right) == (1.0, 0.0)
    assert {f.cases for f in found.values()} == {CASES}


def test_a_map_without_a_strongest_cell_is_as_good_as_chance(toy: Callable[..., LoadedRun]) -> None:
    found = localisation(toy({"flat": AttentionMaps(torch.ones(A, H, W))}))["flat"]
    assert found.right == pytest.approx(found.chance)


def test_chance_is_the_share_of_cells_in_the_box(toy: Callable[..., LoadedRun]) -> None:
    made = toy({"p": AttentionMaps(maps_at(PEAKS))})
    # of 7 columns of cells, 2, 3 and 2 have their centres in the thirds
    for column, share in ((0, 2 / 7), (18, 3 / 7), (36, 2 / 7)):
        one = replace(
            made, dataset=replace(made.dataset, places={column: made.dataset.places[column]})
        )
        index = np.concatenate([made.dataset.split.test_seen, made.dataset.split.test_unseen])
        cases = int(made.dataset.semantics.attributes[made.dataset.labels[index], column].sum())
        assert localisation(one)["p"] == Localisation(1.0, pytest.approx(share), cases)


def test_a_place_moves_with_the_crop_of_the_backbone() -> None:
    transform = Transform((100, 100), (0.5,), (0.5,), "bilinear")
    boxes = np.array([[0.0, 0.0, 0.5, 1.0], [0.25, 0.0, 0.75, 0.5], [0.0, 0.0, 0.2, 1.0]])
    # of an image twice as wide as high, the crop takes the middle half
    expected = [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 1.0]]
    assert np.allclose(cropped(boxes, (400, 200), transform), expected)


def test_places_of_digits_hold_their_ink(dedn: LoadedRun) -> None:
    images, places = dedn.dataset.images, dedn.dataset.places
    assert images is not None and sorted(places) == list(range(A))
    pixels = np.asarray(images.open(0), dtype=float).mean(axis=2)
    for place in range(3):
        x0, y0, x1, y1 = places[place * 18]
        assert (y0, y1) == (0, 1) and pixels[:, round(x0 * 112) : round(x1 * 112)].max() > 120


def test_a_dataset_without_places_and_a_model_without_attention_say_what_is_missing(
    dedn: LoadedRun, toy: Callable[..., LoadedRun]
) -> None:
    with pytest.raises(
        UserError, match=r"digits does not say where its attributes are.*Dataset\.places"
    ):
        localisation(replace(dedn, dataset=replace(dedn.dataset, places={})))
    with pytest.raises(
        UserError, match=r"The model dedn offers no attention.*zslkit\.model\.Model\.attention"
    ):
        explain(silent := toy({}), some(silent))


@pytest.mark.parametrize("maps", [torch.zeros(A - 1, H, W), torch.full((A, H, W), torch.nan)])
def test_maps_that_break_the_contract_are_told(toy: Callable[..., LoadedRun], maps: Tensor) -> None:
    with pytest.raises(
        UserError, match=r"dedn: the maps of 'p' .* must be as zslkit\.model\.AttentionMaps says"
    ):
        explain(made := toy({"p": AttentionMaps(maps)}), some(made))


def test_a_map_is_stretched_over_the_photo_between_the_centres_of_its_cells() -> None:
    large = upsampled(np.array([[0.0, 2.0]], dtype=np.float32), 4, 8)
    assert np.allclose(large, large[:1]) and (large.min(), large.max()) == (0, 1)
    assert np.allclose(large[0], [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1])
    assert not upsampled(np.full((2, 2), 3.0, dtype=np.float32), 4, 8).any()


@pytest.fixture
def go(capsys: pytest.CaptureFixture[str]) -> Go:
    return caller(capsys)


def as_json(go: Go, *arguments: object) -> dict[str, Any]:
    """What `zslkit explain` prints as JSON."""
    code, out, _ = go("explain", *arguments, "--json")
    assert code == 0
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.fixture
def photo(dedn: LoadedRun, tmp_path: Path) -> Path:
    assert dedn.dataset.images is not None
    dedn.dataset.images.open(1234).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.slow
def test_the_command_draws_and_prints(
    go: Go, folders: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.png"
    arguments = ("explain", folders["dedn"], photo, "--out", out, "--top-attributes")
    code, text, _ = go(*arguments, 3, "--localise")
    assert code == 0
    for words in (
        "photo.png",
        "predicted class",
        "cExp",
        "fExp",
        f"written: {out}",
        "chance %  cases",
        str(CASES),
    ):
        assert words in text
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        wide = picture.size
    assert go(*arguments, 1)[0] == 0
    with Image.open(out) as picture:
        assert picture.size[0] < wide[0] and picture.size[1] == wide[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.png", "photo.png"]


@pytest.mark.parametrize(
    ("model", "parts", "channels"), [("dedn", ["cExp", "fExp"], True), ("dazle", ["region"], False)]
)
def test_json_is_one_object(
    go: Go,
    folders: dict[str, Path],
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    parts: list[str],
    channels: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    told = as_json(go, folders[model], photo, "--attributes", "tens two, units one")
    assert (told["model"], told["dataset"], told["picture"], told["localisation"]) == (
        model,
        "digits",
        "explain.png",
        None,
    )
    ((image,), shown) = told["images"], [a["attribute"] for a in told["images"][0]["attributes"]]
    assert (
        image["image"] == str(photo)
        and shown == ["tens two", "units one"]
        and len(image["classes"]) == 5
    )
    for attribute in image["attributes"]:
        assert list(attribute["parts"]) == parts
        for part in attribute["parts"].values():
            assert isinstance(part["contribution"], float) and part["map_size"] == [H, W]
            assert (part["channels"] is not None) == channels
    assert (tmp_path / "explain.png").is_file()


def test_without_an_image_some_test_images_are_explained(
    go: Go, folders: dict[str, Path], tmp_path: Path
) -> None:
    told = as_json(go, folders["dazle"], "--out", tmp_path / "o.png", "--top-attributes", 1)
    assert len(told["images"]) == 4


def test_localise_alone_draws_nothing(
    go: Go, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders["dazle"].resolve()
    monkeypatch.chdir(tmp_path)
    told = as_json(go, folder, "--localise")
    assert (told["images"], told["picture"]) == ([], None) and not list(tmp_path.iterdir())
    found = told["localisation"]["region"]
    assert found["cases"] == CASES and 0.3 < found["chance"] < 0.36 and 0 <= found["right"] <= 1


@pytest.mark.slow
def test_localise_draws_the_picture_that_out_asks_for(
    go: Go, folders: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "o.png"
    told = as_json(go, folders["dazle"], "--localise", "--out", out)
    assert out.is_file() and told["picture"] == str(out)
    assert len(told["images"]) == 4 and told["localisation"]["region"]["cases"] == CASES


@pytest.mark.parametrize("command", ["explain", "predict"])
def test_two_runs_where_one_belongs_are_named(
    go: Go, folders: dict[str, Path], command: str
) -> None:
    first, second = folders["dazle"], folders["eszsl"]
    code, _, err = go(command, first, second)
    assert code == 2 and f"takes one run, and {first} and {second} are two" in err


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        ("eszsl", [], "The model eszsl offers no attention"),
        ("eszsl", ["--localise"], "The model eszsl offers no attention"),
        ("dazle", ["none.png"], "There is no image none.png; check the path"),
        (
            "dazle",
            ["--attributes", "tens zreo"],
            "digits has no attribute 'tens zreo'; did you mean \"tens zero\"",
        ),
        ("dazle", ["--attributes", " ,"], "--attributes"),
        ("dazle", ["--top-attributes", "0"], "--top-attributes"),
        ("dazle", ["--out", "o.jpg"], "--out o.jpg is no .png"),
        ("dazle", ["--out", "nowhere/o.png"], "make nowhere or name another place"),
        ("none", [], "There is no run folder"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    go: Go,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = go("explain", folders.get(model, tmp_path / model), *arguments)
    assert code == 2
    (told,) = (
        line for line in err.splitlines() if line.startswith("zslkit: ")
    )  # progress may stand before it
    assert out == "" and words in told
    assert not list(tmp_path.iterdir())


def test_too_many_images_for_one_picture_are_refused(
    go: Go, folders: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.png"
    photos = [photo] * 100
    code, _, err = go("explain", folders["dedn"], *photos, "--top-attributes", 1, "--out", out)
    assert code == 2
    assert "take fewer images or attributes at once" in err and not out.exists()


def test_help_imports_neither_torch_nor_matplotlib() -> None:
    program = """
import sys
from zslkit.cli.app import main
main(["explain", "--help"])
loaded = [m for m in ("torch", "matplotlib", "numpy", "rich") if m in sys.modules]
sys.exit(f"imported: {loaded}" if loaded else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "") and "--localise" in done.stdout
