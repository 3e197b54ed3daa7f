"""`zslkit diff`: what differs between two runs, with paired intervals, classes, and images whose
answer changed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from run_folders import make_run, random_scores
from run_photos import photographed

from zslkit.cli import app
from zslkit.errors import DataError, UserError
from zslkit.evaluation.gzsl import evaluate
from zslkit.explain.contact_sheet import GAP, save_sheet
from zslkit.report import difference
from zslkit.report.difference import causes, outcome
from zslkit.runs.folders import SCORES, load_run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """B has another learning rate, and the answers of A but for one: test_unseen image 5 is right
    in B and wrong in A."""
    b = random_scores(9.0)
    table = b.test_unseen_scores.copy()
    table[5, 0] = 99.0
    split = {"split": photographed().fingerprints()["split"]}
    settings: dict[str, Any] = {"lr": 0.1, "features": {"size": 8}}
    return (
        make_run(
            tmp_path,
            "alpha",
            replace(b, test_unseen_scores=table),
            config=settings,
            identity="a" * 12,
            fingerprints=split,
        ),
        make_run(
            tmp_path,
            "alpha",
            b,
            config={**settings, "lr": 0.2},
            identity="b" * 12,
            fingerprints=split,
        ),
    )


def test_only_what_differs_is_a_cause(pair: tuple[Path, Path]) -> None:
    a, b = (load_run(folder).record for folder in pair)
    assert causes(a, b) == {"config.lr": (0.1, 0.2)}
    assert causes(a, a) == {}


def test_the_one_image_that_flipped_is_found_with_its_name(pair: tuple[Path, Path]) -> None:
    a, b = map(load_run, pair)
    found = outcome(a, b, photographed())
    (flip,) = found.flips
    label = random_scores(9.0).classes[random_scores(9.0).test_unseen_labels[5]]
    assert (flip.part, flip.index, flip.label, flip.a, flip.b, flip.key) == (
        "test_unseen",
        5,
        label,
        "class 0",
        label,
        "photo 205",
    )
    assert flip.outcome == "won"
    (back,) = outcome(b, a).flips
    assert (back.outcome, back.key) == ("lost", "")
    changed = [(name, points) for name, points in found.per_class if points]
    assert changed == [(label, pytest.approx(100 / 30))] and found.per_class[0] == changed[0]
    expected = evaluate(*b.scores().sets()).U - evaluate(*a.scores().sets()).U
    assert found.figures["U"].interval.value == pytest.approx(expected) and expected > 0
    assert (found.images.only_a, found.images.only_b) == (
        0,
        0,
    )  # class 0 is seen, so among the unseen nothing changed
    assert found.figures["S"].p == 1.0


def test_the_whole_as_json_with_a_sheet(
    pair: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(difference, "dataset_of", lambda run, root: photographed())
    sheet = tmp_path / "flips.png"
    assert app.main(["diff", *map(str, pair), "--out", str(sheet), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["differs"] == {"config.lr": {"a": 0.1, "b": 0.2}}
    assert [flip["key"] for flip in told["flips"]] == ["photo 205"]
    assert told["sheet"] == str(sheet) and told["not_paired"] is None
    drawn = Image.open(sheet)
    assert drawn.getpixel((GAP + 2, GAP + 2)) == (205, 0, 0)


@pytest.mark.slow
def test_in_words(
    pair: tuple[Path, Path], zslkit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = zslkit("diff", *map(str, pair))
    assert done.returncode == 0, done.stderr
    for words in (
        "config.lr",
        "95 % interval",
        "1 of 6 classes changed",
        "1 images are answered otherwise",
        "test_unseen",
    ):
        assert words in done.stdout
    same = zslkit("diff", str(pair[0]), str(pair[0]))
    assert (
        "Settings, environment and data are the same." in same.stdout
        and "0 images are answered otherwise" in same.stdout
    )


@pytest.mark.slow
def test_runs_of_other_splits_and_without_scores_say_what_differs_and_why_not_more(
    pair: tuple[Path, Path], tmp_path: Path, zslkit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    other = make_run(tmp_path, "beta", random_scores(1.0))
    done = zslkit("diff", str(pair[0]), str(other))
    assert done.returncode == 0 and "data.split" in done.stdout
    assert "different splits" in done.stderr and len(done.stderr.splitlines()) == 1
    (pair[1] / SCORES).unlink()
    done = zslkit("diff", *map(str, pair), "--json")
    assert json.loads(done.stdout)["not_paired"].startswith(str(pair[1] / SCORES))


def test_a_sheet_needs_a_place_and_images(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, why in (
        ("flips.jpg", "is no .png; the picture is written as PNG, so name a file like flips.png"),
        ("none/flips.png", "is in no folder that exists; make "),
    ):
        assert app.main(["diff", *map(str, pair), "--out", str(tmp_path / name)]) == 2
        assert why in capsys.readouterr().err
    for count in (0, 801):
        with pytest.raises(UserError, match=f"A sheet of {count} images cannot be drawn"):
            save_sheet([], count, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("known", [True, False])
def test_answers_on_other_images_are_not_paired(tmp_path: Path, known: bool) -> None:
    """An older record does not say on which images its run was made, and is believed."""
    scores = random_scores(9.0)
    images = ["a" * 16, "b" * 16 if known else ""]
    a, b = (
        load_run(
            make_run(tmp_path, "alpha", scores, identity=name * 12, fingerprints={"images": digest})
        )
        for name, digest in zip("ab", images, strict=True)
    )
    if known:
        with pytest.raises(
            DataError, match=r"have one split and were made on other images \(aaaaaaaa, bbbbbbbb\)"
        ):
            outcome(a, b)
    else:
        assert outcome(a, b).flips == ()
