"""Verification finds what was put wrong on purpose, names it, and finds nothing where nothing is
wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from photos import photo
from PIL import Image, ImageEnhance
from scipy.io import savemat

from zslkit.datasets.xlsa17 import Xlsa17
from zslkit.datasets.xlsa17_mat import read_split_variables
from zslkit.utils.progress import Silent
from zslkit.verify.checklist import examine, verify
from zslkit.verify.checks import DatasetCheck, locs_digest, split_name
from zslkit.verify.leaks import find_leaks, words
from zslkit.verify.material import of_proposed_split

FOLDERS = ["001.Auk"] * 3 + ["003.Crow"] * 3 + ["002.Wren"] * 2
PARTS = {"trainval_loc": [1, 2, 4, 5], "test_seen_loc": [3, 6], "test_unseen_loc": [7, 8]}


class Made(Xlsa17):
    """Three birds with two attributes, eight images; the wren is unseen."""

    title = "Made up"
    folder = "MADE"
    photos = "MADE/images"
    counts: ClassVar[dict[str, int]] = {
        "images": 8, "attributes": 2, "seen": 2, "unseen": 1, "trainval": 4, "test_seen": 2,
        "test_unseen": 2,
    }  # fmt: skip


def cells(texts: list[str]) -> np.ndarray:
    return np.array([[np.array([text])] for text in texts] + [[0]], dtype=object)[:-1]


def column(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, dtype=np.uint16)[:, None]


def make(
    root: Path, features: dict[str, Any] | None = None, without: tuple[str, ...] = (), **split: Any
) -> Path:
    """The dataset on disk; **split and features change a variable, `without` leaves files away."""
    home = root / "xlsa17" / "data" / "MADE"
    home.mkdir(parents=True)
    table = np.array([[3.0, 1.0, 2.0], [4.0, 1.0, 0.5]])
    variables = {
        "allclasses_names": cells(["003.Crow", "001.Auk", "002.Wren"]),
        "original_att": table,
        "att": table / np.linalg.norm(table, axis=0),
        **{part: column(locs) for part, locs in PARTS.items()},
        **split,
    }
    savemat(
        home / "att_splits.mat",
        {key: value for key, value in variables.items() if value is not None},
    )
    files = [f"{folder}/{i}.png" for i, folder in enumerate(FOLDERS)]
    made = {
        "features": 1 + np.arange(16.0).reshape(2, 8),
        "labels": column([2, 2, 2, 1, 1, 1, 3, 3]),
        "image_files": cells([f"/BS/x/MADE/images/{file}" for file in files]),
        **(features or {}),
    }
    if "res101.mat" not in without:
        savemat(home / "res101.mat", made)
    (home / "trainvalclasses.txt").write_text("001.Auk\n003.Crow\n")
    (home / "testclasses.txt").write_text("002.Wren\n")
    if "photos" not in without:
        for i, file in enumerate(files):
            (root / "MADE/images" / file).parent.mkdir(parents=True, exist_ok=True)
            photo(i).save(root / "MADE/images" / file)
    return root


def checks(root: Path) -> dict[str, DatasetCheck]:
    return {
        check.name: check for check in examine(of_proposed_split("made", Made(), root), Silent())
    }


def verdicts(found: dict[str, DatasetCheck], *kinds: str) -> set[str]:
    return {name for name, check in found.items() if check.verdict in kinds}


def test_nothing_is_wrong_with_a_good_dataset(tmp_path: Path) -> None:
    found = checks(make(tmp_path))
    assert verdicts(found, "fault", "skipped") == set()
    assert verdicts(found, "note") == {"split version"}  # no result was ever published on it
    assert found["images open"].text == "all 8"


def test_one_image_that_does_not_open_is_a_fault_and_named(tmp_path: Path) -> None:
    root = make(tmp_path)
    file = root / "MADE/images/001.Auk/1.png"
    file.write_bytes(file.read_bytes()[:100])
    found = checks(root)
    assert verdicts(found, "fault") == {"images open"}
    assert (
        found["images open"].text == "1 of 8 do not open"
        and str(file) in found["images open"].items[0]
    )


def test_missing_photos_and_photos_in_no_list_are_told_apart(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "MADE/images/001.Auk/1.png").rename(root / "MADE/images/001.Auk/stray.png")
    found = checks(root)
    assert (
        verdicts(found, "fault") == {"images open"}
        and "1.png cannot be found" in found["images open"].items[0]
    )
    assert found["photos"] == DatasetCheck(
        "photos", "note", "1 image files on disk are in no list", ("001.Auk/stray.png",)
    )


@pytest.mark.parametrize(
    ("copy", "verdict", "counted"), [(2, "fault", "1 across sets"), (1, "note", "0 across sets")]
)
def test_the_same_bytes_twice_are_a_fault_across_sets_and_a_note_within_one(
    tmp_path: Path, copy: int, verdict: str, counted: str
) -> None:
    root = make(tmp_path)
    images = root / "MADE/images/001.Auk"
    (images / f"{copy}.png").write_bytes((images / "0.png").read_bytes())
    found = checks(root)
    assert (
        found["identical images"].verdict == verdict and counted in found["identical images"].text
    )
    assert (
        len(found["identical images"].items) == 1
        and f"001.Auk/0.png (trainval) = 001.Auk/{copy}.png" in found["identical images"].items[0]
    )
    assert found["near-duplicates"].verdict == "ok"  # what is identical is not told a second time


def test_a_smaller_brighter_copy_across_seen_and_unseen_is_a_near_duplicate(tmp_path: Path) -> None:
    root = make(tmp_path)
    copy = ImageEnhance.Brightness(photo(0).resize((48, 48))).enhance(1.2)
    copy.save(root / "MADE/images/002.Wren/7.png")
    found = checks(root)
    assert found["identical images"].verdict == "ok"
    assert found["near-duplicates"].verdict == "note" and found["near-duplicates"].text.startswith(
        "1 pairs across sets, 1 of them seen/unseen, 1 "
    )
    assert (
        found["near-duplicates"]
        .items[0]
        .startswith("001.Auk/0.png (trainval) ~ 002.Wren/7.png (test_unseen), ")
    )


def test_an_overlap_of_two_sets_is_counted(tmp_path: Path) -> None:
    found = checks(make(tmp_path, test_seen_loc=column([3, 5])))
    assert verdicts(found, "fault") == {"overlap"}
    assert found["overlap"].items == ("trainval and test_seen share 1 images",)


def test_locs_out_of_range_or_twice(tmp_path: Path) -> None:
    found = checks(make(tmp_path, test_seen_loc=column([3, 3]), test_unseen_loc=column([7, 9])))
    assert found["locs"].items == (
        "test_seen names 1 images twice",
        "test_unseen speaks of image 9, and there are 8",
    )
    assert found["labels"].verdict == "fault"


def test_counts_that_differ_are_named(tmp_path: Path) -> None:
    found = checks(make(tmp_path, trainval_loc=column([1, 2, 4])))
    assert found["counts"].items == ("trainval: 3 here, 4 known",)
    assert "1 images are in no set" in found["locs"].text


def test_a_label_without_a_class_and_a_class_without_images(tmp_path: Path) -> None:
    wrong = checks(make(tmp_path / "a", {"labels": column([2, 2, 2, 1, 1, 1, 4, 4])}))
    assert wrong["labels"].verdict == "fault" and wrong["labels"].items == ("label 4",)
    table = np.array([[3.0, 1.0, 2.0, 5.0], [4.0, 1.0, 0.5, 1.0]])
    names = cells(["003.Crow", "001.Auk", "002.Wren", "004.Dodo"])
    lone = checks(make(tmp_path / "b", original_att=table, att=None, allclasses_names=names))
    assert lone["labels"].verdict == "note" and lone["labels"].items == ("004.Dodo",)
    assert lone["class names"].verdict == "fault" and lone["class names"].items == (
        "004.Dodo",
    )  # in neither list of classes


def test_a_class_that_is_seen_and_unseen(tmp_path: Path) -> None:
    found = checks(
        make(
            tmp_path,
            trainval_loc=column([1, 2, 4, 7]),
            test_seen_loc=column([3, 6]),
            test_unseen_loc=column([8, 5]),
        )
    )
    assert found["seen and unseen"].items == (
        "class 1 (003.Crow) has images in trainval and in test_unseen",
        "class 3 (002.Wren) has images in trainval and in test_unseen",
    )
    assert found["class names"].verdict == "fault"


def test_folders_that_contradict_the_labels(tmp_path: Path) -> None:
    found = checks(
        make(
            tmp_path,
            {
                "image_files": cells(
                    [f"/x/images/{'001.Auk' if i else '009.Owl'}/{i}.png" for i in range(8)]
                )
            },
        )
    )
    assert found["class names"].verdict == "fault" and "not one to one" in found["class names"].text


def test_train_loc_and_val_loc_that_hold_test_images_are_a_note(tmp_path: Path) -> None:
    found = checks(make(tmp_path / "a", train_loc=column([1, 2, 3]), val_loc=column([4, 5, 6])))
    assert (
        found["train_loc and val_loc"].verdict == "note"
        and "hold 2 of 2 images of test_seen:" in found["train_loc and val_loc"].text
    )
    assert (
        checks(make(tmp_path / "b", train_loc=column([1, 2]), val_loc=column([4, 5])))[
            "train_loc and val_loc"
        ].verdict
        == "ok"
    )


def test_the_scale_of_the_attributes(tmp_path: Path) -> None:
    table = np.array([[30.0, 10.0, 20.0], [40.0, -1.0, 0.5]])
    found = checks(
        make(tmp_path / "a", original_att=table, att=table / np.linalg.norm(table, axis=0))
    )["attribute scale"]
    assert (
        found.verdict == "note"
        and "-1..40" in found.text
        and "..50" in found.text
        and "1 negative entries mean unknown and are read as 0" in found.text
    )
    assert checks(make(tmp_path / "b", att=table))["attribute scale"].verdict == "fault"
    own = replace(of_proposed_split("made", Made(), tmp_path / "a"), unknown=False, unit=None)
    scale = {check.name: check for check in examine(own, Silent())}["attribute scale"]
    assert scale.verdict == "note" and scale.text.endswith("1 negative entries keep their signs")
    same = checks(
        make(tmp_path / "c", original_att=np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]]), att=None)
    )["attribute scale"]
    assert same.verdict == "note" and same.items == (
        "class 1 (003.Crow): like another",
        "class 3 (002.Wren): all zero",
    )


def test_features_that_are_zero_or_stand_in_two_sets(tmp_path: Path) -> None:
    values = 1 + np.arange(16.0).reshape(2, 8)
    values[:, 7] = values[:, 0]
    twin = checks(make(tmp_path / "a", {"features": values}))["features"]
    assert twin.verdict == "note" and twin.items == ("image 1 (trainval) = image 8 (test_unseen)",)
    values[:, 7] = 0
    assert checks(make(tmp_path / "b", {"features": values}))["features"].verdict == "fault"


def test_without_res101_the_split_is_checked_and_the_rest_says_why_not(tmp_path: Path) -> None:
    found = checks(make(tmp_path, without=("res101.mat", "photos")))
    assert verdicts(found, "fault") == set()
    assert {"labels", "features", "images open", "identical images", "near-duplicates"} == verdicts(
        found, "skipped"
    )
    assert (
        "2 seen, 1 unseen" in found["counts"].text
        and found["labels"].text == "there is no res101.mat"
    )


def test_without_res101_photos_are_told_apart_by_the_lists_of_classes(tmp_path: Path) -> None:
    root = make(tmp_path, without=("res101.mat",))
    (root / "MADE/images/002.Wren/7.png").write_bytes(
        (root / "MADE/images/001.Auk/0.png").read_bytes()
    )
    found = checks(root)["identical images"]
    assert found.verdict == "fault" and found.items == (
        "001.Auk/0.png (seen) = 002.Wren/7.png (unseen)",
    )


def test_a_dataset_that_cannot_be_read_has_one_fault(tmp_path: Path) -> None:
    (tmp_path / "xlsa17").mkdir()
    (only,) = verify("cub", tmp_path, Silent())
    assert only.verdict == "fault" and "att_splits.mat is missing" in only.text


def test_a_fingerprint_is_of_the_sets_and_not_of_their_order() -> None:
    locs = {"trainval": np.array([2, 0]), "test_seen": np.array([1]), "test_unseen": np.array([3])}
    turned = {**locs, "trainval": np.array([0, 2])}
    moved = {**locs, "trainval": np.array([0, 1]), "test_seen": np.array([2])}
    assert locs_digest(locs) == locs_digest(turned) != locs_digest(moved)
    assert split_name(locs_digest(locs)) == ""


@pytest.mark.parametrize("folder", ["CUB", "SUN", "AWA2", "AWA1", "APY", "FLO"])
def test_the_fingerprints_of_the_proposed_splits_are_known(shared: Path, folder: str) -> None:
    locs = read_split_variables(shared / "data/xlsa17/data" / folder / "att_splits.mat").locs
    assert split_name(locs_digest(locs)).startswith(
        f"the proposed split of {'aPY' if folder == 'APY' else folder} "
    )


NAMES = {
    "n1": ("albatross", "mollymawk"),
    "n2": ("bighorn", "bighorn sheep"),
    "n3": ("loggerhead", "loggerhead turtle"),
    "n4": ("grey whale",),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("003.Sooty_Albatross", "wider"),
        ("mollymawk", "same"),
        ("gray+whale", "same"),
        ("sheep", "narrower"),
        ("111.Loggerhead_Shrike", None),  # a shrike and no turtle
        ("ross", None),  # whole words alone
        ("whale_watching", None),
    ],
)
def test_names_are_matched_by_whole_words_at_their_ends(name: str, kind: str | None) -> None:
    assert [leak.kind for leak in find_leaks([name], NAMES)] == ([] if kind is None else [kind])


def test_class_names_as_words() -> None:
    assert words("051.Horned_Grebe") == ("horned", "grebe")
    assert words("a/apse/indoor") == ("apse", "indoor")
    assert words("Brandt's cormorant") == ("brandts", "cormorant")


def test_an_unseen_class_of_imagenet_is_never_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "zslkit.verify.checks.imagenet_names", lambda: {"n1": ("wren",), "n2": ("auk",)}
    )
    found = checks(make(tmp_path))["ImageNet classes"]
    assert found.verdict == "note" and found.items == ("002.Wren: wren (n1, the same name)",)
    assert "1 of 1 unseen classes" in found.text and "1 of 2 seen classes" in found.text


def test_the_class_list_that_timm_carries_has_a_thousand_names() -> None:
    from zslkit.verify.leaks import imagenet_names

    names = imagenet_names()
    assert len(names) == 1000 and names["n02058221"] == ("albatross", "mollymawk")


def test_a_dataset_of_which_no_image_opens_is_told_image_by_image(tmp_path: Path) -> None:
    root = make(tmp_path)
    for file in (root / "MADE/images").rglob("*.png"):
        file.write_bytes(b"no image")
    found = checks(root)
    assert found["images open"].verdict == "fault" and len(found["images open"].items) == 8
    assert found["identical images"].verdict == found["near-duplicates"].verdict == "skipped"


def test_images_without_contrast_and_with_more_bits_are_noted(tmp_path: Path) -> None:
    root = make(tmp_path)
    Image.fromarray(np.full((8, 8), 300, np.uint16)).save(root / "MADE/images/001.Auk/1.png")
    found = checks(root)
    assert len(found["contrast"].items) == 1 and found["contrast"].items[0].startswith(
        "001.Auk/1.png ("
    )
    assert "white 1023 by its own range" in found["bits of images"].items[0]
