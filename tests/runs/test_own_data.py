"""Photos of one's own: every model has settings for them, picked on validation, that follow the
data."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zslkit.cli import app
from zslkit.config.merge import read_yaml
from zslkit.dataset import Dataset, Split
from zslkit.datasets.attribute_names import shipped_card, shipped_columns
from zslkit.errors import DataError
from zslkit.model import ENCODER_KEYS, GradientModel
from zslkit.registry import MODELS
from zslkit.runs import api, plan
from zslkit.runs.plan import make_plan, presets_of
from zslkit.semantics import Semantics
from zslkit.utils.progress import Silent

OURS = [e.name for e in MODELS.entries() if e.built_in]
UNTRAINED = "clip"
"""Learns from no image, so that no class is favoured and nothing is picked."""
BRIEF = ("features.weights=random", "protocol.watch_test=0")


def draw(folder: Path, attributes: Sequence[str], classes: int = 8, photos: int = 6) -> Path:
    """A card of photos with one colour a class, a table of random attributes, two unseen
    classes."""
    random = np.random.default_rng(0)
    names = [f"class{k}" for k in range(classes)]
    for k, name in enumerate(names):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(photos):
            pixels = random.integers(0, 60, (32, 32, 3)) + np.array([40 * k, 200 - 30 * k, 90])
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / "photos" / name / f"{i}.png")
    with (folder / "own.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["class", *attributes])
        table.writerows([name, *random.random(len(attributes)).round(3)] for name in names)
    (folder / "own.yaml").write_text(
        f"name: own\nimages: photos\nattributes: own.csv\nunseen: {names[-2:]}\n"
        "features: {backbone: test_resnet, size: 32}\n"
    )
    return folder / "own.yaml"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return draw(tmp_path, ["red", "striped", "large", "old"])


def run(card: Path, model: str, *settings: str, reporter: Any = None) -> api.Result:
    out, chosen = card.parent / "runs", (*BRIEF, *settings)
    return api.run(
        model, str(card), settings=chosen, device="cpu", out=out, reporter=reporter or Silent()
    )


@pytest.mark.parametrize("model", OURS)
def test_every_model_picks_on_validation_for_any_dataset(model: str, card: Path) -> None:
    made = make_plan(model, str(card))
    protocol, kind = made.protocol, made.model_class
    assert protocol.calibration == ("none" if model == UNTRAINED else "validation")
    assert (protocol.selection == "validation") == issubclass(kind, GradientModel)
    assert protocol.tune == bool(kind.search)


@pytest.mark.parametrize("model", OURS)
def test_what_holds_for_any_dataset_has_no_size_of_one(model: str) -> None:
    values = read_yaml(presets_of(MODELS.load(model)[1])["default"]).values
    assert not set(ENCODER_KEYS) & values.get("features", {}).keys()
    assert "steps_per_epoch" not in values.get("train", {})
    assert values.get("made") is None
    assert values.get("clusters", "auto") == "auto"


def test_a_run_on_own_photos_is_tuned_and_calibrated(card: Path) -> None:
    protocol = run(card, "ridge").record.protocol
    assert protocol.calibration == "validation" and protocol.fold_seed == 0
    assert {"lam", "normalise"} <= set(protocol.tuned)


@pytest.mark.parametrize("model", ["dedn", "msdn"])
def test_what_is_missing_is_made_up_for_and_said(model: str, card: Path) -> None:
    record = run(card, model, "train.epochs=1").record
    text = "\n".join(record.model.remarks)
    assert "word vectors of the attributes are random, since the dataset has none" in text
    assert ("made by k-means" in text) == (model == "dedn")


def test_remarks_are_shown_with_the_result(card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for key in (*BRIEF, "train.epochs=1") for word in ("--set", key)]
    out = ["--out", str(card.parent / "runs"), "--device", "cpu"]
    assert app.main(["run", "-m", "msdn", "-d", str(card), *options, *out]) == 0
    told = capsys.readouterr()
    (line,) = (n for n in told.out.splitlines() if n.startswith("model:"))
    assert line.endswith("word vectors of the attributes are random, since the dataset has none")
    assert "msdn: the word vectors of the attributes are random" in told.err


@pytest.mark.parametrize("extra", [[], ["--set", "protocol.calibration=none", "--again"]])
def test_an_uncalibrated_run_names_the_command_that_calibrates(
    extra: list[str], card: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = ["run", "-m", "ridge", "-d", str(card), "--out", str(card.parent / "runs")]
    bare += ["--device", "cpu", "--set", "features.weights=random", "--set", "protocol.tune=false"]
    assert app.main([*bare, *extra]) == 0
    first = capsys.readouterr().out
    if not extra:
        assert "H is not calibrated" not in first
        return
    (line,) = (n for n in first.splitlines() if n.startswith("H is not calibrated"))
    command = line.partition("evens that out: ")[2].split()
    assert command == ["zslkit", *bare, "--set", "protocol.calibration=validation"]
    assert app.main(command[1:]) == 0
    assert "calibrated by" in capsys.readouterr().out


class Notes(Silent):
    """Keeps the notes of a run."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def note(self, text: str) -> None:
        self.kept.append(text)


def awa2_in_other_words() -> list[str]:
    """The attributes of AWA2 from last to first, in capitals."""
    known = shipped_card("AWA2")
    assert known is not None
    return [name.upper() for name in reversed(known.names)]


def test_a_preset_for_these_attributes_is_named_with_its_command(tmp_path: Path) -> None:
    card, notes = draw(tmp_path, awa2_in_other_words()), Notes()
    run(card, "sae", reporter=notes)
    command = f"zslkit run -m sae -d {card} --preset awa2"
    assert [n for n in notes.kept if "--preset" in n] == [
        f"own: the attributes are those of AWA2, for which sae has settings: {command}"
    ]
    again = Notes()
    settings = {"settings": BRIEF, "out": tmp_path / "runs", "device": "cpu", "reporter": again}
    api.run("sae", str(card), preset="awa2", **settings)  # type: ignore[arg-type]
    run(card, "ridge", reporter=again)  # its settings for AWA2 are those for any dataset
    assert not [n for n in again.kept if "--preset" in n]


def test_other_attributes_name_no_preset(card: Path) -> None:
    notes = Notes()
    run(card, "sae", reporter=notes)
    assert not [n for n in notes.kept if "--preset" in n]


def test_attributes_are_known_by_all_their_names_in_any_order() -> None:
    names = awa2_in_other_words()
    assert shipped_columns(names) == ("AWA2", tuple(range(84, -1, -1)))
    assert shipped_columns(names[1:]) is None
    assert shipped_columns([*names[1:], "purple"]) is None
    assert shipped_columns([*names[1:], names[1]]) is None
    assert shipped_columns([]) is None


@pytest.mark.parametrize("brings", [True, False])
def test_a_stranger_s_model_is_calibrated_where_its_author_says_so(
    brings: bool, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"default": tmp_path / "default.yaml"} if brings else {}
    (tmp_path / "default.yaml").write_text("protocol: {calibration: validation}\n")
    monkeypatch.setattr(plan, "presets_of", lambda kind: settings)
    assert make_plan("ridge", str(card)).protocol.calibration == (
        "validation" if brings else "none"
    )


def fold_of(labels: Sequence[int]) -> Dataset:
    """Fold of a dataset whose trainval images have these labels, with one class more, unseen."""
    count = max(labels) + 2
    every = np.array([*labels, *labels, count - 1], dtype=np.int64)
    n = len(labels)
    return Dataset(
        "tiny",
        tuple(f"class{k}" for k in range(count)),
        every,
        Split(np.arange(n), np.arange(n, 2 * n), np.array([2 * n])),
        Semantics(np.eye(count, dtype=np.float32), tuple(map(str, range(count)))),
        features=np.zeros((len(every), 2), dtype=np.float32),
    ).fold(0)


def test_a_fold_of_classes_of_two_images_has_one_of_each_to_be_judged_by() -> None:
    labels = [0, 0, 1, 1, 2, 2, 3]
    parts = fold_of(labels).split
    held_out = {labels[i] for i in parts.test_unseen}
    of_two = {0, 1, 2} - held_out
    assert sorted(labels[i] for i in parts.test_seen) == sorted(of_two)
    assert sorted(labels[i] for i in parts.trainval) == sorted({0, 1, 2, 3} - held_out)


@pytest.mark.parametrize(("labels", "lacks"), [
    ([0, 1, 2, 3], "two trainval images of a seen class"),
    ([0, 0, 0], "two seen classes or more"),
])  # fmt: skip
def test_a_dataset_too_small_for_a_fold_says_how_to_do_without(
    labels: list[int], lacks: str
) -> None:
    with pytest.raises(DataError, match=f"validation needs {lacks}; .*protocol.tune=false"):
        fold_of(labels)
