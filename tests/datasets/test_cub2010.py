"""The photos of CUB-200-2010 with CUB's classes and attributes: counts, the split to the letter,
and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from zslkit.dataset import Dataset
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import DataError


@pytest.fixture(scope="module")
def data(shared: Path) -> Dataset:
    return load_dataset("cub2010", shared / "data")


def test_counts(data: Dataset) -> None:
    assert [len(p) for p in data.split.parts().values()] == [3616, 897, 1520]
    assert (len(data.classes), int(data.seen.sum())) == (200, 150)
    assert data.semantics.attributes.shape == (200, 312)
    assert data.semantics.word_vectors is not None and data.semantics.word_vectors.shape == (
        312,
        300,
    )
    assert (data.semantics.attributes >= 0).all()


def test_every_photo_lies_in_the_folder_of_its_class(data: Dataset) -> None:
    assert data.images is not None
    assert all(
        data.images.key(i).split("/")[0] == data.classes[label]
        for i, label in enumerate(data.labels)
    )


def test_the_held_out_photos_are_those_of_the_recipe(data: Dataset) -> None:
    # One generator, seen classes in the order of allclasses_names, each class's photos in sorted
    # path order.
    assert data.images is not None
    rng, held = np.random.default_rng(0), set()
    paths = {data.images.key(i): i for i in range(len(data.labels))}
    for k, name in enumerate(data.classes):
        if data.seen[k]:
            photos = sorted(p for p in paths if p.startswith(f"{name}/"))
            held |= {
                paths[photos[i]] for i in rng.permutation(len(photos))[: round(0.2 * len(photos))]
            }
    assert set(data.split.test_seen.tolist()) == held


@pytest.fixture
def root(shared: Path, tmp_path: Path) -> Path:
    """A data root of links, one of which a test can take away or put something else in its
    place."""
    (tmp_path / "xlsa17" / "data" / "CUB").mkdir(parents=True)
    for file in ("att_splits.mat", "testclasses.txt"):
        os.symlink(
            shared / "data" / "xlsa17" / "data" / "CUB" / file,
            tmp_path / "xlsa17" / "data" / "CUB" / file,
        )
    (tmp_path / "cub200_2010" / "images").mkdir(parents=True)
    for folder in (shared / "data" / "cub200_2010" / "images").iterdir():
        (tmp_path / "cub200_2010" / "images" / folder.name).mkdir()
        (tmp_path / "cub200_2010" / "images" / folder.name / "1.jpg").touch()
    return tmp_path


def refused(root: Path) -> str:
    with pytest.raises(DataError) as error:
        load_dataset("cub2010", root)
    assert str(error.value).startswith("cub2010: ") or str(root) in str(error.value)
    return str(error.value)


def test_missing_files_say_where_they_belong(root: Path) -> None:
    (root / "xlsa17/data/CUB/testclasses.txt").unlink()
    assert f"put it at {root}/xlsa17/data/CUB/testclasses.txt" in refused(root)
    (root / "xlsa17/data/CUB/att_splits.mat").unlink()
    assert f"put it at {root}/xlsa17/data/CUB/att_splits.mat" in refused(root)
    (root / "cub200_2010").rename(root / "photos")
    assert "put the photos there, one folder for each class" in refused(root)
    assert "there is no folder" in refused(root / "nowhere")


def test_classes_and_folders_must_be_the_same(root: Path) -> None:
    images = root / "cub200_2010" / "images"
    (images / "001.Black_footed_Albatross").rename(images / "1.Albatross")
    assert "2 classes stand only in att_splits.mat or only below" in refused(root)
    (images / "1.Albatross" / "1.jpg").unlink()
    (images / "1.Albatross").rmdir()
    (images / "001.Black_footed_Albatross").mkdir()
    assert "1 class folders below" in refused(root)


def test_an_unseen_class_that_does_not_exist(root: Path) -> None:
    file = root / "xlsa17/data/CUB/testclasses.txt"
    names = file.read_text()
    file.unlink()
    file.write_text(names + "201.Dodo\n")
    assert "names 1 classes that att_splits.mat has not ('201.Dodo', ...)" in refused(root)


def test_a_cut_off_mat_is_named(root: Path) -> None:
    file = root / "xlsa17/data/CUB/att_splits.mat"
    content = file.read_bytes()
    for cut in (100, len(content) // 2):
        file.unlink(missing_ok=True)
        file.write_bytes(content[:cut])
        assert "att_splits.mat is no whole MATLAB file" in refused(root)
