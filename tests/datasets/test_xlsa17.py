"""The proposed splits: images find their class by name, indices start at 0, and what is damaged or
does not fit is named."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from zslkit.datasets import xlsa17_cache
from zslkit.datasets.xlsa17 import Xlsa17
from zslkit.datasets.xlsa17_join import anchored, class_ids, plain
from zslkit.errors import DataError

FOLDERS = ["001.Auk"] * 3 + ["003.Crow"] * 3 + ["002.Wren"] * 2
"""Of eight images; the wren is unseen."""


class Made(Xlsa17):
    """Three birds with two attributes."""

    title = "Made up"
    folder = "MADE"
    photos = "MADE/images"
    attribute_files = ("MADE",)
    counts: ClassVar[dict[str, int]] = {
        "images": 8, "attributes": 2, "seen": 2, "unseen": 1, "trainval": 4, "test_seen": 2,
        "test_unseen": 2,
    }  # fmt: skip


class Sentences(Made):
    table = "att"
    kind = "sentences"
    nameless = "bird"


def cells(texts: list[str]) -> np.ndarray:
    """A MATLAB cell array of texts."""
    return np.array([[np.array([text])] for text in texts] + [[0]], dtype=object)[:-1]


def splits(**changed: Any) -> dict[str, Any]:
    """The variables of an att_splits.mat: classes out of the order of their folders, 1-based locs
    out of order."""
    made = {
        "allclasses_names": cells(["003.Crow", "001.Auk", "002.Wren"]),
        "original_att": np.array([[3.0, 1.0, 2.0], [0.3, -1.0, 0.2]]),
        "trainval_loc": np.array([[5], [1], [4], [2]], np.uint16),
        "test_seen_loc": np.array([[6], [3]], np.uint16),
        "test_unseen_loc": np.array([[7], [8]], np.uint16),
    }
    return {key: value for key, value in {**made, **changed}.items() if value is not None}


def features(**changed: Any) -> dict[str, Any]:
    """The variables of a res101.mat: image i has the features (10 i, 10 i + 1)."""
    made = {
        "features": 10.0 * np.arange(8) + np.array([[0.0], [1.0]]),
        "labels": np.array([[2, 2, 2, 1, 1, 1, 3, 3]], np.uint8).T,
        "image_files": cells(
            [f"/BS/somebody/work/MADE/images/{folder}/{i}.png" for i, folder in enumerate(FOLDERS)]
        ),
    }
    return {key: value for key, value in {**made, **changed}.items() if value is not None}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZSLKIT_CACHE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "data")


def write(
    root: Path, split_file: dict[str, Any] | None = None, feature_file: dict[str, Any] | None = None
) -> Path:
    home = root / "xlsa17" / "data" / "MADE"
    home.mkdir(parents=True, exist_ok=True)
    savemat(home / "att_splits.mat", splits() if split_file is None else split_file)
    savemat(home / "res101.mat", features() if feature_file is None else feature_file)
    return root


def add_photos(root: Path) -> Path:
    for i, folder in enumerate(FOLDERS):
        (root / "MADE" / "images" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (i, 0, 0)).save(root / "MADE" / "images" / folder / f"{i}.png")
    return root / "MADE" / "images"


def test_a_dataset_by_hand(root: Path) -> None:
    made = Made().load("made", root)
    assert (made.name, made.title, made.classes) == (
        "made",
        "Made up",
        ("003.Crow", "001.Auk", "002.Wren"),
    )
    assert made.labels.tolist() == [1, 1, 1, 0, 0, 0, 2, 2]
    assert {part: index.tolist() for part, index in made.split.parts().items()} == {
        "trainval": [0, 1, 3, 4],
        "test_seen": [2, 5],
        "test_unseen": [6, 7],
    }
    assert made.seen.tolist() == [True, True, False]
    assert made.features is not None and made.features.dtype == np.float32
    assert made.features.tolist() == [[10 * i, 10 * i + 1] for i in range(8)]


def test_classes_are_joined_by_name_not_by_number(tmp_path: Path) -> None:
    by_folder = np.array(
        [[1, 1, 1, 3, 3, 3, 2, 2]], np.uint8
    ).T  # numbers of folders, not of rows of the table
    made = Made().load("made", write(tmp_path, None, features(labels=by_folder)))
    assert [made.classes[k] for k in made.labels] == FOLDERS


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    classes=st.permutations(range(3)),
    numbers=st.permutations(range(3)),
    images=st.permutations(range(8)),
)
def test_no_order_moves_an_image_to_another_class(
    tmp_path: Path, classes: list[int], numbers: list[int], images: list[int]
) -> None:
    names = ["001.Auk", "002.Wren", "003.Crow"]
    place = np.argsort(images)  # where each image of FOLDERS stands now
    table = np.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]])
    shuffled = splits(
        allclasses_names=cells([names[k] for k in classes]),
        original_att=table[:, classes],
        **{part: 1.0 + place[np.array(which)][:, None] for part, which in LOCS.items()},
    )
    read = features(
        labels=np.array([[1 + numbers[names.index(FOLDERS[i])]] for i in images]),
        image_files=cells([f"images/{FOLDERS[i]}/{i}.jpg" for i in images]),
    )
    made = Made().load("made", write(tmp_path, shuffled, read))
    assert [made.classes[k] for k in made.labels] == [FOLDERS[i] for i in images]
    number = made.semantics.attributes[made.labels, 0]
    assert [f"{number[i]:03.0f}" for i in range(8)] == [FOLDERS[i][:3] for i in images]
    assert {
        part: sorted(images[i] for i in index) for part, index in made.split.parts().items()
    } == {part.removesuffix("_loc"): which for part, which in LOCS.items()}


LOCS = {"trainval_loc": [0, 1, 3, 4], "test_seen_loc": [2, 5], "test_unseen_loc": [6, 7]}


@pytest.mark.parametrize("ending", ["", "val_loc", "train_loc"])
def test_train_loc_and_val_loc_may_be_missing_and_are_never_used(
    tmp_path: Path, ending: str
) -> None:
    leaky = {"train_loc": np.array([[3], [6], [7]]), "val_loc": np.array([[0], [99]])}
    made = Made().load(
        "made",
        write(
            tmp_path, splits(**{k: v for k, v in leaky.items() if ending and k.endswith(ending)})
        ),
    )
    assert made.split.trainval.tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("/BS/x/work/CUB_200_2011/CUB_200_2011/images/001.Auk/a.jpg", "001.Auk/a.jpg"),
        ("/BS/x/SUN/images/a/apse/indoor/sun_a.jpg", "a/apse/indoor/sun_a.jpg"),
        (
            "/BS/x/Animals_with_Attributes2//JPEGImages/antelope/antelope_1.jpg",
            "antelope/antelope_1.jpg",
        ),
        ("images/images/001.Auk/a.jpg", "001.Auk/a.jpg"),
        ("C:\\data\\images\\\\001.Auk\\a.jpg", "001.Auk/a.jpg"),
        ("/BS/x/my_images/001.Auk/a.jpg", None),
        ("/BS/x/images/", None),
        ("a.jpg", None),
    ],
)
def test_a_path_is_anchored_on_its_folder_of_images(file: str, path: str | None) -> None:
    assert anchored(file) == path


def test_names_are_equal_but_for_number_initial_case_and_signs() -> None:
    assert plain("a/apse/indoor") == plain("apse_indoor") == plain("Apse Indoor") == "apseindoor"
    assert plain("grizzly+bear") == plain("Grizzly bear") != plain("polar+bear")


def test_labels_decide_where_no_folder_tells_the_class(tmp_path: Path) -> None:
    for k, path in enumerate(("/BS/x/{}.jpg", "/BS/images/{}.jpg")):
        read = features(image_files=cells([path.format(i) for i in range(8)]))
        assert Made().load("made", write(tmp_path / str(k), None, read)).labels.tolist() == [
            1,
            1,
            1,
            0,
            0,
            0,
            2,
            2,
        ]


def test_a_folder_spelled_unlike_its_class_goes_by_its_label_if_the_others_agree_with_theirs() -> (
    None
):
    paths = ["auk/1.jpg", "wren/2.jpg", "raven/3.jpg"]
    assert class_ids("made", ["auk", "wren", "crow"], np.array([0, 1, 2]), paths).tolist() == [
        0,
        1,
        2,
    ]
    with pytest.raises(
        DataError, match=r"made: 1 folders of image_files in res101\.mat.*'raven'.*one xlsa17\.zip"
    ):
        class_ids("made", ["auk", "wren", "crow"], np.array([1, 0, 2]), paths)


def test_unknown_attribute_values_are_zero_and_sentences_keep_their_signs(tmp_path: Path) -> None:
    table = splits()["original_att"]
    root = write(tmp_path, splits(att=table))
    assert Made().load("made", root).semantics.attributes.tolist() == [
        [3, pytest.approx(0.3)],
        [1, 0],
        [2, pytest.approx(0.2)],
    ]
    assert Sentences().load("made", root).semantics.attributes[1].tolist() == [1, -1]


def test_classes_and_attributes_without_names_are_numbered(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        splits(allclasses_names=None, att=np.ones((2, 3))),
        features(image_files=cells(["x.jpg"] * 8)),
    )
    flowers = Sentences().load("made", root)
    assert flowers.classes == ("bird 1", "bird 2", "bird 3")
    assert (
        flowers.semantics.names == ("sentence 1", "sentence 2")
        and flowers.semantics.kind == "sentences"
    )
    assert Made().load("made", root).classes[0] == "class 1"


def test_photos_are_read_where_they_are_and_features_in_any_case(root: Path) -> None:
    assert Made().load("made", root).images is None
    add_photos(root)
    both = Made().load("made", root)
    assert both.images is not None and both.features is not None
    assert [both.images.open(i).getpixel((0, 0)) for i in range(8)] == [(i, 0, 0) for i in range(8)]
    assert both.images.key(7) == "002.Wren/7.png"


def test_names_and_word_vectors_are_found_beside_the_splits_a_link_leads_to(tmp_path: Path) -> None:
    store = write(tmp_path / "store")
    (store / "w2v").mkdir()
    (store / "attribute_names").mkdir()
    np.save(store / "w2v" / "MADE_attribute.npy", np.eye(2))
    (store / "attribute_names" / "MADE.txt").write_text("1 size\n2 has_bill::red\n")
    root = tmp_path / "data"
    root.mkdir()
    (root / "xlsa17").symlink_to(store / "xlsa17")
    semantics = Made().load("made", root).semantics
    assert semantics.names == ("size", "has_bill::red")
    assert semantics.word_vectors is not None and semantics.word_vectors.tolist() == [
        [1, 0],
        [0, 1],
    ]


@pytest.mark.parametrize(("key", "value"), [("original_att", 1e39), ("features", -1e39)])
def test_a_number_too_large_for_float32_is_not_finite(
    tmp_path: Path, key: str, value: float
) -> None:
    made = splits() if key == "original_att" else features()
    table = made[key].astype(np.float64)
    table[0, 0] = value
    root = write(
        tmp_path,
        *(
            (splits(**{key: table}), None)
            if key == "original_att"
            else (None, features(**{key: table}))
        ),
    )
    with pytest.raises(DataError, match=f"{key} holds a number that is not finite"):
        Made().load("made", root)


def test_res101_mat_is_converted_once_for_each_content_it_has_had(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Made().load("made", root)
    with monkeypatch.context() as closed:
        closed.setattr(xlsa17_cache, "read_feature_file", lambda path: pytest.fail("read again"))
        again = Made().load("made", root)
    assert isinstance(again.features, np.memmap)
    assert (
        again.features.tolist() == first.features.tolist()
        and again.labels.tolist() == first.labels.tolist()
    )
    assert (
        again.features_digest
        == hashlib.sha256(np.ascontiguousarray(first.features).tobytes()).hexdigest()[:16]
    )
    assert again.origin.startswith("res101.mat of xlsa17, sha256 ")
    write(root, None, features(features=features()["features"] + 1))
    other = Made().load("made", root)
    assert other.features is not None and other.features[0].tolist() == [1, 2]
    assert other.features_digest != first.features_digest
    assert len([f for f in (cache / "xlsa17").iterdir() if f.is_dir()]) == 2


def test_a_copy_of_res101_mat_shares_the_converted_features(
    root: Path, cache: Path, tmp_path: Path
) -> None:
    Made().load("made", root)
    shutil.copytree(root, tmp_path / "copy")
    Made().load("made", tmp_path / "copy")
    assert len([f for f in (cache / "xlsa17").iterdir() if f.is_dir()]) == 1


def test_a_conversion_that_fails_leaves_nothing(root: Path, cache: Path) -> None:
    table = features()["features"]
    table[1, 7] = np.nan
    write(root, None, features(features=table))
    with pytest.raises(DataError, match=r"res101\.mat: features holds a number that is not finite"):
        Made().load("made", root)
    assert [f for f in (cache / "xlsa17").iterdir() if f.is_dir()] == []


@pytest.mark.parametrize("part", ["features.npy", "labels.npy", "manifest.json"])
def test_damaged_converted_features_are_named(root: Path, cache: Path, part: str) -> None:
    Made().load("made", root)
    (folder,) = [f for f in (cache / "xlsa17").iterdir() if f.is_dir()]
    (folder / part).write_bytes((folder / part).read_bytes()[:-9])
    with pytest.raises(
        DataError,
        match=r"The converted features in .* are damaged .* remove that folder and run again",
    ):
        Made().load("made", root)
