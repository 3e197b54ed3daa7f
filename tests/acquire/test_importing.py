"""Features of another program become the dataset that they describe, or are refused with what to do
about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from own_files import hdf5, with_maps
from scipy.io import savemat
from spoilt import LABELS, PARTS, A, D, N, arrays, mat

from zslkit.acquire.import_checks import from_zero
from zslkit.acquire.import_classes import Choices
from zslkit.acquire.importing import import_features
from zslkit.config import FeatureConfig
from zslkit.dataset import Dataset
from zslkit.datasets.catalog import find_dataset, load_dataset
from zslkit.errors import DataError, UserError
from zslkit.readers import stream
from zslkit.runs import api
from zslkit.runs.find import matching_runs
from zslkit.runs.folders import load_run
from zslkit.runs.plan import make_plan
from zslkit.runs.repeat import arguments_of
from zslkit.training.inputs import choose_input, prepare
from zslkit.utils.progress import Silent

CSV = "class,big,red,wet,old\nauk,1,2,3,4\ncrow,5,6,7,8\nwren,9,10,11,12\n"


def batch(dataset: Dataset, kind: Any) -> torch.Tensor:
    return prepare(dataset, FeatureConfig(), kind, torch.device("cpu"), Silent()).source.batch(
        np.arange(N)
    )


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("flat", [False, True])
def test_an_hdf5_cache_becomes_the_dataset_it_describes(
    tmp_path: Path, base: int, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK", 3 * D * 4 * 4)  # several blocks
    maps = arrays(N, D, 2, 2)["feature_map"]
    numbers = {name: arrays(N, D)[name] + base for name in ("labels", *PARTS)}
    file = hdf5(
        tmp_path / "x.h5", with_maps(feature_map=maps.reshape(N, D, 4) if flat else maps, **numbers)
    )
    order = "channels-first" if flat else None  # 5 may be 2 x 2 positions and a class token
    made = import_features(file, tmp_path / "out", Choices(dtype="float32", layout=order))
    data = load_dataset(str(made.card))
    assert data.labels.tolist() == LABELS.tolist()
    assert {f"{part}_loc": index.tolist() for part, index in data.split.parts().items()} == {
        p: i.tolist() for p, i in PARTS.items()
    }
    assert data.semantics.attributes.tolist() == arrays(N, D)["original_att"].tolist()
    assert (
        data.semantics.word_vectors is not None
        and data.semantics.word_vectors.tolist() == arrays(N, D)["w2v_att"].tolist()
    )
    assert torch.equal(batch(data, "map"), torch.from_numpy(maps))
    assert torch.equal(batch(data, "pooled"), torch.from_numpy(maps.mean((2, 3))))
    assert (data.name, data.images, data.origin.partition(",")[0]) == (
        "out",
        None,
        "x.h5 (HDF5 cache",
    )


def test_both_kinds_of_input_have_one_fingerprint_and_say_where_they_are_from(
    tmp_path: Path,
) -> None:
    data = import_features(hdf5(tmp_path / "x.h5", with_maps()), tmp_path / "out").dataset
    inputs = [
        prepare(data, FeatureConfig(), kind, torch.device("cpu"), Silent())
        for kind in ("map", "pooled")
    ]
    assert [i.feature_shape for i in inputs] == [(D, 2, 2), (D,)]
    assert [i.map_shape for i in inputs] == [(D, 2, 2), None]
    assert inputs[0].weights_digest == inputs[1].weights_digest
    assert {(i.backbone, i.weights) for i in inputs} == {("as given", data.origin)}


@pytest.mark.parametrize(("dtype", "step"), [("float16", 2**-10), ("bfloat16", 2**-7)])
def test_maps_are_rounded_once_and_their_means_are_not(
    tmp_path: Path, dtype: str, step: float
) -> None:
    maps = np.random.default_rng(0).random((N, D, 2, 2), dtype=np.float32)
    made = import_features(
        hdf5(tmp_path / "x.h5", with_maps(feature_map=maps)), tmp_path / "out", Choices(dtype=dtype)
    )
    assert torch.equal(
        batch(made.dataset, "map"), torch.from_numpy(maps).to(getattr(torch, dtype)).float()
    )
    assert torch.equal(batch(made.dataset, "pooled"), torch.from_numpy(maps).mean((2, 3)))
    assert find_dataset(made.card).defaults == {"dtype": dtype}


def test_res101_mat_is_imported_with_the_splits_beside_it_or_given(tmp_path: Path) -> None:
    whole = mat()
    features = {name: whole.pop(name) for name in ("features", "labels", "image_files")}
    (tmp_path / "a").mkdir()
    savemat(tmp_path / "a" / "res101.mat", features)
    with pytest.raises(
        DataError,
        match=r"res101\.mat has 2 faults: \(1\) comes without trainval_loc.*--split FILE.*\(2\) "
        r"holds no original_att",
    ):
        import_features(tmp_path / "a" / "res101.mat", tmp_path / "no")
    savemat(tmp_path / "att_splits.mat", whole)
    given_it = import_features(
        tmp_path / "a" / "res101.mat",
        tmp_path / "given",
        Choices(split=tmp_path / "att_splits.mat"),
    ).dataset
    shutil.copy(tmp_path / "att_splits.mat", tmp_path / "a")
    beside = import_features(tmp_path / "a" / "res101.mat", tmp_path / "beside").dataset
    assert given_it.fingerprints() == beside.fingerprints()
    assert beside.classes == ("auk", "crow", "wren") and beside.labels.tolist() == LABELS.tolist()
    assert beside.maps is None and beside.features is not None
    assert torch.equal(
        batch(beside, "pooled"), torch.from_numpy(features["features"].T.astype(np.float32))
    )


def test_npz_and_npy_with_files_beside_them_make_the_same_dataset(tmp_path: Path) -> None:
    held = arrays(N, D)
    np.savez_compressed(tmp_path / "x.npz", **held)
    (tmp_path / "npy").mkdir()
    np.save(tmp_path / "npy" / "features.npy", held["feature_map"])
    for part in PARTS:
        np.save(tmp_path / "npy" / f"{part}.npy", held[part])
    (tmp_path / "labels.txt").write_text("\n".join(map(str, LABELS)))
    (tmp_path / "classes.csv").write_text(CSV)
    one = Choices(attributes=tmp_path / "classes.csv", base=0, name="same")
    first = import_features(tmp_path / "x.npz", tmp_path / "1", one).dataset
    second = import_features(
        tmp_path / "npy" / "features.npy",
        tmp_path / "2",
        Choices(attributes=one.attributes, labels=tmp_path / "labels.txt", name="same"),
    ).dataset
    assert first.fingerprints()["split"] == second.fingerprints()["split"]
    assert first.semantics.names == ("big", "red", "wet", "old") and first.classes == (
        "auk",
        "crow",
        "wren",
    )
    assert torch.equal(batch(first, "pooled"), batch(second, "pooled"))


def test_a_table_of_attributes_is_joined_by_name_where_the_file_has_names(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", mat())
    lines = CSV.splitlines()
    (tmp_path / "c.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
    data = import_features(
        tmp_path / "x.mat", tmp_path / "out", Choices(attributes=tmp_path / "c.csv")
    ).dataset
    assert data.classes == ("auk", "crow", "wren") and data.semantics.attributes[:, 0].tolist() == [
        1,
        5,
        9,
    ]
    (tmp_path / "c.csv").write_text(CSV.replace("crow", "raven"))
    with pytest.raises(DataError, match=r"c\.csv: 1 classes of .*x\.mat have no row \('crow'"):
        import_features(tmp_path / "x.mat", tmp_path / "no", Choices(attributes=tmp_path / "c.csv"))


def test_unknown_values_become_zero_and_the_other_table_can_be_asked_for(tmp_path: Path) -> None:
    table = arrays(N, D)["original_att"]
    table[1, 2] = -1
    file = hdf5(tmp_path / "x.h5", with_maps(original_att=table))
    made = import_features(file, tmp_path / "1")
    assert made.dataset.semantics.attributes[1].tolist() == [5, 6, 0, 8]
    assert any("1 negative entries" in note for note in made.notes)
    att = import_features(file, tmp_path / "2", Choices(table="att")).dataset.semantics.attributes
    assert att.tolist() == arrays(N, D)["att"].astype(np.float32).tolist()


def test_names_and_groups_of_a_known_dataset(tmp_path: Path) -> None:
    file = hdf5(tmp_path / "x.h5", with_maps(original_att=np.ones((3, 85)), att=None, w2v_att=None))
    plain = import_features(file, tmp_path / "1")
    assert plain.dataset.semantics.names[0] == "attribute 1" and "--like awa2" in plain.notes[-1]
    data = import_features(file, tmp_path / "2", Choices(like="awa2")).dataset
    assert data.semantics.names[0] == "black" and len(data.semantics.groups) == 4
    with pytest.raises(UserError, match=r"--like cub: cub has 312 attributes"):
        import_features(file, tmp_path / "3", Choices(like="cub"))
    with pytest.raises(UserError, match=r'no attribute names of \'cup\'; did you mean "cub"'):
        import_features(file, tmp_path / "3", Choices(like="cup"))


@given(
    numbers=st.lists(st.integers(0, 6), min_size=1),
    count=st.integers(1, 6),
    base=st.sampled_from([None, 0, 1]),
)
@settings(max_examples=200, deadline=None)
def test_what_numbers_count_from_is_never_guessed(
    numbers: list[int], count: int, base: int | None
) -> None:
    possible = {b for b in (0, 1) if all(b <= n < count + b for n in numbers)}
    array = np.array(numbers, dtype=np.float64)
    try:
        found = from_zero(Path("f"), "labels", array, count, "classes", base, None)
    except DataError as error:
        assert (possible != {0} and possible != {1}) or base is not None
        assert ("--base" in str(error)) == (
            (bool(possible) and base is None) or (len(possible) == 1 and base not in possible)
        )
    else:
        start = int(numbers[0] - found[0])
        assert start in possible and (base in (None, start) or len(possible) == 1)
        assert (found + start == array).all()


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no features": ({"feature_map": None}, r"holds no feature_map or features"),
    "no labels": ({"labels": None}, r"holds no labels; give them with --labels"),
    "no split": (
        {"test_seen_loc": None},
        r"comes without test_seen_loc; give the split with --split",
    ),
    "no attributes": (
        {"att": None, "original_att": None},
        r"holds no original_att or att; give class attributes with --class-attributes",
    ),
    "ambiguous locs": (
        {"trainval_loc": [1, 3, 4], "test_unseen_loc": [6]},
        r"run from 1 to 6 of 8 images, .* say --base 0 or --base 1",
    ),
    "locs outside": ({"test_unseen_loc": [6, 9]}, r"run from 0 to 9, and there are 8 images"),
    "locs of both": ({"test_unseen_loc": [6, 8]}, r"run from 0 to 8, and there are 8 images"),
    "half labels": ({"labels": LABELS + 0.5}, r"labels should be whole numbers"),
    "labels as a table": ({"labels": np.zeros((4, 2))}, r"labels has the shape \(4, 2\)"),
    "fewer labels": (
        {"labels": LABELS[:-1]},
        r"the features have the shape \(8, 5, 2, 2\) and there are 7 labels",
    ),
    "attributes not finite": (
        {"original_att": np.full((3, A), np.nan)},
        r"original_att holds a number that is not finite",
    ),
    "masks": (
        {part: np.isin(np.arange(N), index).astype("u1") for part, index in PARTS.items()},
        r"trainval_loc, test_seen_loc, test_unseen_loc hold a 0 or 1 for each of 8 images; save "
        r"numpy\.flatnonzero",
    ),
    "masks of truth values": (
        {part: np.isin(np.arange(N), index) for part, index in PARTS.items()},
        r"hold a 0 or 1 for each of 8 images; save numpy\.flatnonzero",
    ),
    "overlap": ({"test_seen_loc": [2, 5, 0]}, r"trainval and test_seen share 1 images"),
    "leak": (
        {"trainval_loc": [0, 1, 3, 4, 7], "test_unseen_loc": [6]},
        r"stand in trainval and in test_unseen",
    ),
    "no square": (
        {"feature_map": np.ones((N, 3, 6))},
        r"neither 3 nor 6 positions are a square, .*; save them as \(N, D, H, W\)",
    ),
    "transposed": ({"feature_map": np.ones((D, N))}, r"save them transposed, an image a row"),
    "not finite": (
        {"feature_map": np.full((N, D), np.inf)},
        r"of 8 of 8 images hold a number that is not finite \(images 0-7, counted from 0\)",
    ),
    "too large": (
        {"feature_map": np.full((N, D, 2, 2), 1e6)},
        r"too large for float16; choose --dtype bfloat16 or float32",
    ),
    "other words": ({"w2v_att": np.ones((9, 3))}, r"w2v_att holds 9 vectors for 4 attributes"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_does_not_fit_is_refused_and_nothing_is_left(tmp_path: Path, what: str) -> None:
    change, sentence = FAULTS[what]
    file = hdf5(tmp_path / "daten ä.h5", with_maps(**change))
    with pytest.raises(DataError, match=sentence) as caught:
        import_features(file, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["daten ä.h5"]


def test_images_in_no_part_of_the_split_are_counted(tmp_path: Path) -> None:
    made = import_features(hdf5(tmp_path / "a.h5", with_maps()), tmp_path / "a")
    assert not any("no part of the split" in note for note in made.notes)
    file = hdf5(tmp_path / "b.h5", with_maps(trainval_loc=[0, 3]))
    made = import_features(file, tmp_path / "b")
    assert "2 of 8 images are in no part of the split and not used" in made.notes


def test_base_decides_what_the_range_leaves_open_and_contradicts_nothing(tmp_path: Path) -> None:
    locs = {"trainval_loc": [1, 3, 4], "test_unseen_loc": [6]}
    file = hdf5(tmp_path / "x.h5", with_maps(**locs))
    assert import_features(
        file, tmp_path / "0", Choices(base=0)
    ).dataset.split.trainval.tolist() == [1, 3, 4]
    with pytest.raises(
        DataError,
        match=r"labels run from 0 to 2 of 3 classes, so they do not count from 1; leave --base "
        r"away",
    ):
        import_features(file, tmp_path / "1", Choices(base=1))


def test_a_model_is_told_what_there_is(tmp_path: Path) -> None:
    maps = import_features(hdf5(tmp_path / "x.h5", with_maps()), tmp_path / "maps").dataset
    pooled = import_features(
        hdf5(tmp_path / "y.h5", with_maps(feature_map=np.ones((N, D)))), tmp_path / "pooled"
    ).dataset
    assert choose_input(("map", "pooled"), FeatureConfig(), maps, "m") == "map"
    assert choose_input(("image", "map"), FeatureConfig(), maps, "m") == "map"
    assert choose_input(("map", "pooled"), FeatureConfig(), pooled, "m") == "pooled"
    with pytest.raises(
        UserError,
        match=r"m takes map inputs, and pooled has only pooled features here; .*import feature "
        r"maps",
    ):
        choose_input(("map",), FeatureConfig(), pooled, "m")
    with pytest.raises(
        UserError, match=r"m takes image inputs, and maps has feature maps but no images here"
    ):
        choose_input(("image",), FeatureConfig(), maps, "m")


def test_a_run_on_an_import_is_found_by_its_card_and_can_be_repeated(tmp_path: Path) -> None:
    card = import_features(hdf5(tmp_path / "x.h5", with_maps()), tmp_path / "out").card
    plain = {"protocol": {"tune": False, "calibration": "none"}}
    folder = api.run("eszsl", card, overrides=plain, out=tmp_path / "runs", device="cpu").folder
    made = load_run(folder)
    assert matching_runs([made], make_plan("eszsl", card, overrides=plain), 0) == [made]
    assert arguments_of(made, str(card))["dataset"] == str(card)


def test_a_fold_of_imported_maps_keeps_them(tmp_path: Path) -> None:
    data = import_features(hdf5(tmp_path / "x.h5", with_maps()), tmp_path / "out").dataset
    assert data.fold(0, image_share=0.5).maps is data.maps


EDITS: dict[str, tuple[Callable[[str], str], str]] = {
    "misspelt key": (
        lambda t: t.replace("maps: maps", "maps: maps\nlables: x"),
        r"'lables'.*labels",
    ),
    "misspelt kind": (
        lambda t: t.replace("kind: features", "kind: feature"),
        r"no kind of card 'feature'; did you mean \"features\"",
    ),
    "no features": (lambda t: t.replace("maps: maps\n", ""), r"names either maps .* or pooled"),
    "bad digest": (lambda t: t.replace("digest: sha256:", "digest: md5:"), r"source\.digest"),
    "way out": (
        lambda t: t.replace("maps: maps", "maps: ../maps"),
        r"leads out of the card's folder",
    ),
    "lost file": (
        lambda t: t.replace("maps: maps", "maps: maps\nlabels: other.npy"),
        r"labels: there is no file",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_card_that_was_spoilt_is_refused_by_key(tmp_path: Path, what: str) -> None:
    card = import_features(hdf5(tmp_path / "x.h5", with_maps()), tmp_path / "out").card
    edit, sentence = EDITS[what]
    card.write_text(edit(card.read_text()))
    with pytest.raises(UserError, match=sentence):
        load_dataset(str(card))


def test_a_damaged_array_of_a_card_is_named(tmp_path: Path) -> None:
    card = import_features(
        hdf5(tmp_path / "x.h5", with_maps(feature_map=np.ones((N, D)))), tmp_path / "out"
    ).card
    (card.parent / "pooled.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"pooled\.npy is no whole numpy file"):
        load_dataset(str(card))
