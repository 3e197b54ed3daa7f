"""The scale of class attributes, sentences apart from attributes, and the shipped names and groups
against the real files."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.io import loadmat, savemat

from zslkit.config import build
from zslkit.config.merge import Settings
from zslkit.datasets.attribute_names import read_names, shipped_card
from zslkit.datasets.catalog import load_dataset
from zslkit.datasets.xlsa17 import CUB, Xlsa17
from zslkit.errors import UserError
from zslkit.model import ModelConfig
from zslkit.registry import DATASETS
from zslkit.semantics import Semantics

TABLE = np.array([[3, 4], [0, 0], [100, 0]], dtype=np.float32)


def test_l2_divides_each_class_by_its_norm_and_none_leaves_the_scale() -> None:
    semantics = Semantics(TABLE, ("a", "b"))
    np.testing.assert_allclose(semantics.normalised("l2"), [[0.6, 0.8], [0, 0], [1, 0]])
    np.testing.assert_array_equal(semantics.normalised("none"), TABLE)
    np.testing.assert_array_equal(semantics.normalised("original"), TABLE)


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 100, width=32)))
def test_l2_forgets_a_classs_scale_and_none_does_not(table: np.ndarray) -> None:
    scaled = table * np.array([[2], [4], [8]], np.float32)
    once, again = (Semantics(t, tuple("abcd")) for t in (table, scaled))
    np.testing.assert_allclose(once.normalised("l2"), again.normalised("l2"), atol=1e-6)
    np.testing.assert_array_equal(again.normalised("none"), scaled)


def test_original_is_another_word_for_none_and_the_same_run() -> None:
    configs = [
        build(ModelConfig, Settings({"attributes": word}), "m")
        for word in ("none", "original", "l2")
    ]
    assert [c.attributes for c in configs] == ["none", "none", "l2"]
    with pytest.raises(
        UserError, match=r"attributes = 'unit' is refused: it takes l2 \| none \| original"
    ):
        build(ModelConfig, Settings({"attributes": "unit"}), "m")


@pytest.mark.parametrize(
    ("name", "top", "unknown"),
    [("CUB", 100, 0), ("SUN", 1, 0), ("AWA2", 100, 4), ("AWA1", 100, 4), ("APY", 1, 0)],
)
def test_the_real_tables_on_both_scales(shared: Path, name: str, top: float, unknown: int) -> None:
    source = next(kind for kind in Xlsa17.__subclasses__() if kind.folder == name)()
    file = loadmat(shared / "data" / "xlsa17" / "data" / name / "att_splits.mat")
    semantics = source.semantics(
        name.lower(), shared / "data", source.read_splits(name.lower(), shared / "data").attributes
    )
    original, att = file["original_att"].T, file["att"].T
    assert int((original < 0).sum()) == unknown
    none, l2 = semantics.normalised("none"), semantics.normalised("l2")
    assert (none.min(), none.max()) == (0, top)
    np.testing.assert_array_equal(none, np.maximum(original, 0).astype(np.float32))
    known = (original >= 0).all(axis=1)
    np.testing.assert_allclose(l2[known], att[known], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(l2, axis=1), 1, atol=1e-6)


def test_the_sentences_of_cub_have_its_split_and_are_another_task(shared: Path) -> None:
    _, kind = DATASETS.load("cub-sentences")
    sentences, attributes = (
        kind().read_splits("cub-sentences", shared / "data"),
        CUB().read_splits("cub", shared / "data"),
    )
    assert sentences.classes == attributes.classes
    for ours, theirs in zip(
        sentences.split.parts().values(), attributes.split.parts().values(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    semantics = kind().semantics("cub-sentences", shared / "data", sentences.attributes)
    assert (
        semantics.kind,
        semantics.attributes.shape,
        semantics.word_vectors,
        semantics.groups,
    ) == ("sentences", (200, 1024), None, {})
    assert (kind.published_as, kind.title) == ("", "CUB, sentences")


def test_semantics_of_another_kind_have_another_fingerprint(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (4, 4)).save(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "c.csv").write_text("class,x,y\na,1,-1\nb,0,1\n")
    card = "name: own\nimages: images\nattributes: c.csv\nunseen: [b]\n"
    (tmp_path / "own.yaml").write_text(card)
    plain = load_dataset(str(tmp_path / "own.yaml"))
    (tmp_path / "own.yaml").write_text(card + "semantics: sentences\n")
    marked = load_dataset(str(tmp_path / "own.yaml"))
    assert (plain.semantics.kind, marked.semantics.kind) == ("attributes", "sentences")
    assert plain.semantics.attributes.min() == -1  # values of one's own keep their signs
    assert plain.fingerprints()["semantics"] != marked.fingerprints()["semantics"]
    assert plain.fingerprints()["split"] == marked.fingerprints()["split"]


@pytest.mark.parametrize(
    ("name", "file"), [("CUB", "CUB.txt"), ("SUN", "SUN.csv"), ("AWA2", "AWA2.txt")]
)
def test_shipped_names_are_the_published_ones_in_order(shared: Path, name: str, file: str) -> None:
    card = shipped_card(name)
    assert card is not None
    assert card.names == read_names(shared / "data" / "attribute_names" / file)
    assert set(card.words) <= set(card.names)


def test_the_groups_of_cub_are_the_parts_before_the_colons() -> None:
    card = shipped_card("CUB")
    assert card is not None
    parts = {
        k: tuple(c for c, _ in v)
        for k, v in itertools.groupby(
            enumerate(card.names), lambda pair: pair[1].partition("::")[0]
        )
    }
    assert dict(card.groups) == parts


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        (
            "SUN",
            {
                "function": [(0, 38)],
                "element": [(38, 65)],
                "environment_and_material": [(65, 74), (77, 85)],
                "others": [(74, 77), (85, 102)],
            },
        ),
        (
            "AWA2",
            {
                "texture": [(0, 18)],
                "limb": [(18, 33)],
                "abstract": [(33, 64), (78, 85)],
                "environment": [(64, 78)],
            },
        ),
    ],
)
def test_the_groups_of_sun_and_awa2_are_the_published_clusters(
    name: str, groups: dict[str, list[tuple[int, int]]]
) -> None:
    card = shipped_card(name)
    assert card is not None
    assert dict(card.groups) == {
        g: tuple(c for a, b in spans for c in range(a, b)) for g, spans in groups.items()
    }


def test_the_negative_of_a_benchmark_is_unknown_and_read_as_zero(tmp_path: Path) -> None:
    class Two(Xlsa17):
        folder = "TWO"

    home = tmp_path / "xlsa17" / "data" / "TWO"
    home.mkdir(parents=True)
    locs = {
        part: np.array([[k + 1]])
        for k, part in enumerate(("trainval_loc", "test_seen_loc", "test_unseen_loc"))
    }
    savemat(
        home / "att_splits.mat", {"original_att": np.array([[50.0, -1.0], [100.0, 10.0]]), **locs}
    )
    table = Two().semantics("two", tmp_path, Two().read_splits("two", tmp_path).attributes)
    assert table.normalised("none").tolist() == [[50, 100], [0, 10]]
    assert table.normalised("l2")[1].tolist() == [0, 1]


def test_word_vectors_of_ones_own_win_over_those_that_came_along(tmp_path: Path) -> None:
    class Two(Xlsa17):
        folder = "TWO"
        attribute_files = ("TWO",)

    (tmp_path / "w2v").mkdir()
    (tmp_path / "w2v" / "TWO_attribute.pkl").write_bytes(pickle.dumps(np.ones((2, 3))))
    table = np.ones((4, 2), np.float32)
    came = Two().semantics("two", tmp_path, table).word_vectors
    assert came is not None and came.tolist() == [[1, 1, 1]] * 2
    np.save(Two().word_vector_files(tmp_path)[0], np.zeros((2, 5)))
    own = Two().semantics("two", tmp_path, table).word_vectors
    assert own is not None and own.shape == (2, 5)


def test_numbers_that_count_the_lines_are_no_part_of_a_name(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    for text, names in (
        ("1 black\n2 white\n3\tlong leg\n", ("black", "white", "long leg")),
        ("0. black\n1. white\n", ("black", "white")),
        ("2 wheels\n4 wheels\n", ("2 wheels", "4 wheels")),
        ("1 wheel\n2 wheels\n3 wheels\n", ("1 wheel", "2 wheels", "3 wheels")),
        ("red\n2 wheels\n", ("red", "2 wheels")),
    ):
        file.write_text(text)
        assert read_names(file) == names
