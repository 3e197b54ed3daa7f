"""MATLAB files of one's own: what is needed is read, the rest passed over, and advice fits the
format at hand."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix
from spoilt import LABELS, cells, mat

from zslkit.acquire.class_join import own_class_ids
from zslkit.acquire.import_classes import Choices
from zslkit.acquire.importing import Imported, import_features
from zslkit.errors import DataError
from zslkit.readers.mat5 import MatFile

CLASSES = ("auk", "crow", "wren")


def imported(
    folder: Path, choices: Choices | None = None, more: bytes = b"", **changes: Any
) -> Imported:
    """A res101.mat that holds its split too, with some variables changed or (None) left away, and
    more bytes at its end."""
    folder.mkdir(exist_ok=True)
    held = {name: value for name, value in {**mat(), **changes}.items() if value is not None}
    savemat(folder / "res101.mat", held)
    with (folder / "res101.mat").open("ab") as file:
        file.write(more)
    return import_features(folder / "res101.mat", folder / "out", choices)


def files(*folders: str) -> np.ndarray:
    return cells([f"/home/u/set/images/{folder}/{i}.jpg" for i, folder in enumerate(folders)])


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matlab_object(name: bytes, kind: int = 17) -> bytes:
    """A datetime as MATLAB writes it: no shape, but three names and a handle; and what it keeps of
    all objects, without a name."""
    numbers = (
        element(6, struct.pack("<II", 13, 0))
        + element(5, struct.pack("<ii", 1, 1))
        + element(1, b"")
        + element(6, bytes(4))
    )
    names = element(1, name) + element(1, b"MCOS") + element(1, b"datetime")
    return (
        element(14, element(6, struct.pack("<II", kind, 0)) + names + element(14, numbers))
        + element(14, numbers) * 2
    )


@pytest.mark.parametrize("kind", [17, 18, 99])
def test_objects_that_nobody_needs_are_passed_over(tmp_path: Path, kind: int) -> None:
    made = imported(
        tmp_path,
        more=matlab_object(b"made_on", kind),
        s={"field": 1.0},
        t="text",
        p=csc_matrix(np.eye(3)),
        c=np.array([[1j]]),
    )
    assert made.dataset.labels.tolist() == LABELS.tolist() and made.dataset.classes == CLASSES


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"features": csc_matrix(mat()["features"])},
            r"features is a sparse matrix .*; save full\(features\) there",
        ),
        (
            {"features": mat()["features"] * 1j},
            r"features is complex .*; save real\(features\) there",
        ),
        (
            {"features": mat()["features"][None]},
            r"features is no table of numbers, for it has 3 axes",
        ),
        (
            {"labels": cells(["a", "b"])},
            r"labels is a cell array .*; save cell2mat\(labels\) there",
        ),
        ({"labels": {"of": 1.0}}, r"labels is a struct .*; save its field"),
        ({"labels": np.eye(3)}, r"labels has the shape \(3, 3\) and should be a row of numbers"),
        ({"allclasses_names": {"of": 1.0}}, r"allclasses_names is a struct .*; save its field"),
        (
            {"allclasses_names": cells(["auk", "", "wren"])},
            r"allclasses_names holds something that is no text at place 2; put a text there",
        ),
        (
            {"att": "text", "original_att": csc_matrix(mat()["att"])},
            r"original_att is a sparse matrix",
        ),
        (
            {"features": mat()["features"].T},
            r"the features have the shape \(8, 5\) for 8 labels; save them transposed, an image a "
            r"column",
        ),
        (
            {"image_files": files("auk")},
            r"image_files has 1 paths for 8 labels; mend it, or --as-labelled",
        ),
    ],
)
def test_what_is_needed_and_of_another_kind_is_told_with_the_way_on(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=rf"res101\.mat: {reason}") as error:
        imported(tmp_path, **changes)
    assert "fetch" not in str(error.value)


def test_objects_that_are_needed_are_told_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"allclasses_names is a MATLAB object such as a string array .*; save "
        r"cellstr\(allclasses_names\)",
    ):
        imported(tmp_path, more=matlab_object(b"allclasses_names"), allclasses_names=None)
    with pytest.raises(DataError, match=r"labels is a MATLAB object .*; save double\(labels\)"):
        imported(tmp_path, more=matlab_object(b"labels"), labels=None)
    made = imported(tmp_path, more=matlab_object(b"image_files"), image_files=None)
    assert (
        made.dataset.labels.tolist() == LABELS.tolist()
        and "image_files is no list of texts" in made.notes[-1]
    )


def test_a_table_that_is_none_is_passed_over_where_the_other_is_one(tmp_path: Path) -> None:
    made = imported(tmp_path, original_att={"of": 1.0})
    np.testing.assert_allclose(made.dataset.semantics.attributes, mat()["att"].T, rtol=1e-6)


def test_a_split_file_may_hold_anything_beside_the_split(tmp_path: Path) -> None:
    savemat(
        tmp_path / "att_splits.mat",
        mat() | {"features": "text", "labels": {"of": 1.0}, "image_files": np.eye(2)},
    )
    made = imported(tmp_path / "x", Choices(split=tmp_path / "att_splits.mat"), trainval_loc=None)
    assert made.dataset.classes == CLASSES


@pytest.mark.parametrize("compressed", [False, True])
def test_a_list_of_texts_from_python_is_a_matrix_of_characters(
    tmp_path: Path, compressed: bool
) -> None:
    savemat(
        tmp_path / "x.mat",
        {"x": ["auk", "crowé", "a wren"], "one": "auk", "hole": ["auk", ""]},
        do_compression=compressed,
    )
    held = MatFile(tmp_path / "x.mat")
    assert held.texts("x") == ["auk", "crowé", "a wren"] and held.texts("one") == ["auk"]
    with pytest.raises(
        DataError,
        match=r"x\.mat: hole has a row of characters that is no text; save cellstr\(hole\)",
    ):
        held.texts("hole")


def test_files_of_version_4_and_damage_are_told_without_fetching(tmp_path: Path) -> None:
    savemat(tmp_path / "old.mat", {"features": np.eye(3), "labels": np.ones((3, 1))}, format="4")
    with pytest.raises(
        DataError, match=r"old\.mat is a MATLAB file of version 4; save it with -v7"
    ):
        import_features(tmp_path / "old.mat", tmp_path / "out")
    savemat(tmp_path / "cut.mat", mat())
    (tmp_path / "cut.mat").write_bytes((tmp_path / "cut.mat").read_bytes()[:-9])
    with pytest.raises(
        DataError, match=r"cut\.mat is no whole MATLAB file .*; save it again with -v7"
    ):
        import_features(tmp_path / "cut.mat", tmp_path / "out")


OF_CLASS = [CLASSES[k] for k in LABELS]


@pytest.mark.parametrize(
    ("folders", "note"),
    [
        (OF_CLASS, ""),
        ([f"{name.title()}/{2019 + i % 2}" for i, name in enumerate(OF_CLASS)], ""),
        ([f"{'test' if i % 3 else 'train'}/{name}" for i, name in enumerate(OF_CLASS)], ""),
        (["train", "test"] * 4, "no folder in image_files is named after a class"),
        (["all"] * 8, "no folder in image_files is named after a class"),
        (
            ["auk", "all"] * 4,
            "no folder in image_files is named after a class",
        ),  # one of the folders of a split is called like a class
        (
            ["raven" if name == "crow" else name for name in OF_CLASS],
            "1 folders in image_files are named after no class ('raven')",
        ),
    ],
)
def test_labels_count_however_folders_are_laid_out(
    tmp_path: Path, folders: list[str], note: str
) -> None:
    made = imported(tmp_path, image_files=files(*folders))
    assert made.dataset.labels.tolist() == LABELS.tolist()
    assert [n for n in made.notes if "folder" in n] == [
        n for n in made.notes if note and n.startswith(note)
    ] and len(made.notes) == 1 + bool(note)


def test_folders_outside_of_images_help_too() -> None:
    paths = [f"C:\\photos\\{name}\\{i}.png" for i, name in enumerate(OF_CLASS)]
    other = (LABELS + 1) % 3
    ids, notes = own_class_ids(Path("x.mat"), CLASSES, other, paths)
    assert ids.tolist() == LABELS.tolist() and "another order than their names" in notes[0]


def test_names_that_differ_in_signs_alone_are_told_apart() -> None:
    classes = ("C", "C++", "C#")
    paths = [f"/d/images/{classes[k]}/{i}.jpg" for i, k in enumerate(LABELS)]
    assert own_class_ids(Path("x.mat"), classes, LABELS, paths) == (pytest.approx(LABELS), ())
    ids, notes = own_class_ids(Path("x.mat"), classes, LABELS, [path.lower() for path in paths])
    assert ids.tolist() == LABELS.tolist() and notes[0].startswith("no folder")


def test_labels_that_count_in_another_order_than_names_are_told_and_can_be_kept(
    tmp_path: Path,
) -> None:
    other = (LABELS[:, None] + 1) % 3 + 1.0
    made = imported(tmp_path / "1", labels=other)
    assert made.dataset.labels.tolist() == LABELS.tolist()
    assert (
        made.notes[-1].startswith("labels count the classes in another order than their names")
        and "--as-labelled" in made.notes[-1]
    )
    kept = imported(tmp_path / "2", Choices(as_labelled=True), labels=other)
    assert kept.dataset.labels.tolist() == ((LABELS + 1) % 3).tolist() and len(kept.notes) == 1


def test_an_image_whose_folder_contradicts_its_label_is_named(tmp_path: Path) -> None:
    folders = ["crow", *OF_CLASS[1:]]
    with pytest.raises(
        DataError,
        match=r"res101\.mat: image 1 lies in the folder 'crow' and has the label of 'auk', and so "
        r"1 images",
    ):
        imported(tmp_path, image_files=files(*folders))
    assert (
        imported(
            tmp_path, Choices(as_labelled=True), image_files=files(*folders)
        ).dataset.labels.tolist()
        == LABELS.tolist()
    )
