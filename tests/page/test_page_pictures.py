"""Pictures of the page: the worst mistakes by hand, and heat maps of a model that offers
attention."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import make_run, random_scores
from run_photos import Photos, photographed
from torch import Tensor

from zslkit.dataset import Dataset
from zslkit.errors import DataError
from zslkit.model import AttentionMaps
from zslkit.page.gather import gather
from zslkit.page.pictures import FOLDER, SIDE, Album, Pictures, looks, mistakes
from zslkit.page.write import INDEX, write
from zslkit.report import difference
from zslkit.runs.folders import Run, load_run


def dataset() -> Dataset:
    """Photos larger than the page shows them, with names that must be escaped."""
    return photographed(Photos("RGBA", (1000, 500), "../../<photo> {}"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Right everywhere but for test_unseen image 5, which is wrong by far, and test_seen images 1
    and 2, which are wrong by less."""
    scores = random_scores(50.0)
    seen, unseen = scores.test_seen_scores.copy(), scores.test_unseen_scores.copy()
    unseen[5, 0] = 999.0
    for image, score in ((1, 300.0), (2, 200.0)):
        seen[image, 5] = score
    split = {"split": dataset().fingerprints()["split"]}
    made = make_run(
        tmp_path / "runs",
        "alpha",
        replace(scores, test_seen_scores=seen, test_unseen_scores=unseen),
        fingerprints=split,
    )
    return load_run(made)


def test_the_mistakes_are_those_that_scores_say_and_unseen_ones_stand_first(
    run: Run, tmp_path: Path
) -> None:
    found, total = mistakes(run, dataset(), 12, Album(tmp_path / FOLDER))
    scores = run.scores()
    assert total == 3
    assert (found[0].unseen, found[0].given) == (True, "class 0")
    assert {m.given for m in found[1:]} == {"class 5"}
    assert found[0].true == scores.classes[scores.test_unseen_labels[5]] and found[
        0
    ].picture.name.endswith("205")
    labels = scores.test_seen_labels[[1, 2]]
    assert len(found) == (
        3 if labels[0] != labels[1] else 2
    )  # each true class once, by its worst image
    assert found[1].margin > 200


def test_one_is_asked_for_and_one_is_given(run: Run, tmp_path: Path) -> None:
    found, total = mistakes(run, dataset(), 1, Album(tmp_path / FOLDER))
    assert (len(found), total) == (1, 3)


def test_files_are_small_numbered_and_written_once(run: Run, tmp_path: Path) -> None:
    album = Album(tmp_path / FOLDER)
    first, _ = mistakes(run, dataset(), 12, album)
    again, _ = mistakes(run, dataset(), 12, album)
    assert [m.picture for m in first] == [m.picture for m in again]
    files = sorted((tmp_path / FOLDER).iterdir())
    assert [f.name for f in files] == [f"{k:04d}.jpg" for k in range(len(first))]
    with Image.open(files[0]) as image:
        assert image.size == (SIDE, SIDE // 2) and image.format == "JPEG"


def test_other_classes_than_the_runs_are_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="other classes"):
        mistakes(run, replace(dataset(), classes=tuple("abcdef")), 12, Album(tmp_path / FOLDER))


def test_the_page_shows_them_and_a_dataset_that_is_not_there_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    gathered = gather([run.folder], tmp_path)
    written = write(gathered, tmp_path / "page", pictures=Pictures(tmp_path), tell=told.append)
    assert written.n_pictures == 0 and "birds" in told[0]
    monkeypatch.setattr(difference, "dataset_of", lambda run, root: dataset())
    written = write(gathered, tmp_path / "page", pictures=Pictures(tmp_path))
    text = written.index.read_text(encoding="utf-8")
    assert written.n_pictures == len(list((tmp_path / "page" / FOLDER).iterdir())) >= 2
    assert "3 of 120 test images are answered wrongly" in text
    assert all(
        (tmp_path / "page" / FOLDER / f"{k:04d}.jpg").is_file() for k in range(written.n_pictures)
    )
    write(gathered, tmp_path / "page")  # a former report with pictures is a former report
    assert not (tmp_path / "page" / FOLDER).exists()


class Preprocessor:
    """A model with two parts of which the first looks up to the left, the second down to the right;
    its answer is class 4."""

    attributes, task = torch.eye(6), SimpleNamespace(n_attributes=6)

    def scores(self, x: Tensor) -> Tensor:
        return torch.eye(6)[4].expand(len(x), -1)

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        corner = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).expand(len(x), 6, 2, 2)
        return {
            "first": AttentionMaps(corner, torch.ones(len(x), 6)),
            "second": AttentionMaps(corner.flip(2, 3), None),
        }


@pytest.fixture
def trained(run: Run) -> Any:
    """What looks() asks of a reopened run, on grey photos."""
    photos = np.full((40, 80, 3), 128, dtype=np.uint8)
    return SimpleNamespace(
        run=run,
        dataset=dataset(),
        model=Preprocessor(),
        device=torch.device("cpu"),
        gamma=0.0,
        inputs=SimpleNamespace(
            source=SimpleNamespace(batch=lambda index: torch.zeros(len(index), 1))
        ),
        some_test_images=lambda count: np.concatenate(
            [np.arange(100, 100 + count), np.arange(200, 200 + count)]
        ),
        photos_at=lambda index: [photos] * len(index),
    )


def test_heat_maps_are_bright_where_each_part_looked_and_sets_take_turns(
    trained: Any, tmp_path: Path
) -> None:
    found = looks(trained, 3, Album(tmp_path / FOLDER))
    assert [look.part for look in found] == ["first", "second"] * 3
    assert [look.photo.name.rpartition(" ")[2] for look in found[::2]] == ["100", "200", "101"]
    assert {look.predicted for look in found} == {"class 4"}
    for look, corner in zip(found[:2], ((2, 2), (77, 37)), strict=True):
        assert look.maps[0][0] == "e"  # the attribute of class 4
        with Image.open(tmp_path / look.maps[0][2].file) as image:
            pixels = np.asarray(image).sum(axis=2)
        assert pixels[corner[1], corner[0]] == pytest.approx(pixels.max(), abs=12)
    assert (
        found[0].maps[0][1] == "+1.00" and found[1].maps[0][1] == ""
    )  # the second part scores no attribute


def test_models_that_offer_no_attention_are_named_and_not_reopened(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def reopen(folder: Path, *_: object) -> Any:
        opened.append(folder.parent.name)
        return trained

    monkeypatch.setattr("zslkit.runs.load.load_with_dataset", reopen)
    for name in ("dazle", "eszsl"):
        make_run(tmp_path / "several", name, random_scores(1.0), model={"distribution": "zslkit"})
    told: list[str] = []
    pictures = Pictures(tmp_path, errors=0, heat_maps=2, device="cpu")
    written = write(
        gather([], tmp_path / "several"), tmp_path / "page", pictures=pictures, tell=told.append
    )
    text = (tmp_path / "page" / INDEX).read_text(encoding="utf-8")
    assert opened == ["dazle"]
    assert told == ["No heat maps of eszsl: such a model offers no attention"] and told[0] in text
    assert text.count('<figure class="look">') == 4
    assert written.n_pictures == 2 + 4 * 3  # each photo once, and three attributes for each part


def test_a_model_that_is_not_installed_costs_its_heat_maps_and_no_more(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "alpha", random_scores(1.0))
    told: list[str] = []
    write(
        gather([], tmp_path / "runs"),
        tmp_path / "page",
        pictures=Pictures(tmp_path, 0, 2, "cpu"),
        tell=told.append,
    )
    assert len(told) == 1 and "alpha" in told[0]
