"""Own data by a card: what is read, that the split is repeatable, and each mistake by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zslkit.acquire.words import TextSource, write
from zslkit.datasets.attribute_names import shipped_card
from zslkit.datasets.attribute_table import read_class_table
from zslkit.datasets.catalog import load_dataset
from zslkit.datasets.photo_sets import hold_out
from zslkit.errors import DataError, UserError
from zslkit.readers.word_vectors import phrases_of

CARD = (
    "name: birds\nimages: images\nattributes: classes.csv\nunseen: [wren]\ngroups: {colour: "
    "[red, blue]}\n"
)
TABLE = "class,red,blue,size\ncrow,0,1,3\nZaunkönig,1,0,1\nblue tit,0.5,1,1\nwren,1,1,2\n"
CLASSES = ("crow", "Zaunkönig", "blue tit", "wren")


@pytest.fixture
def card(tmp_path: Path) -> Path:
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "images" / name / f"photo {i}.PNG")
    (tmp_path / "images" / "crow" / "notes.txt").write_text("no image")
    (tmp_path / "classes.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "card.yaml").write_text(CARD)
    return tmp_path / "card.yaml"


def test_a_card_is_a_dataset(card: Path) -> None:
    data = load_dataset(str(card))
    assert (data.name, data.classes, len(data.labels)) == ("birds", CLASSES, 20)
    assert data.seen.tolist() == [True, True, True, False]
    assert [len(p) for p in data.split.parts().values()] == [
        12,
        3,
        5,
    ]  # one of five photos of each seen class is held out
    assert data.semantics.names == ("red", "blue", "size")
    assert data.semantics.groups == {"colour": (0, 1)}
    np.testing.assert_array_equal(data.semantics.attributes[2], [0.5, 1, 1])
    assert data.images is not None
    for i, label in enumerate(data.labels):
        assert data.images.key(i).startswith(f"{CLASSES[label]}/photo ")
    assert load_dataset(str(card)).fingerprints() == data.fingerprints()


def test_a_card_says_a_size_and_a_backbone_as_settings_do(card: Path) -> None:
    card.write_text(CARD + "features: {backbone: 1e5, size: 224}\n")
    assert load_dataset(str(card)).defaults == {"backbone": "1e5", "size": 224}
    card.write_text(CARD + "features: {size: 0224}\n")
    with pytest.raises(UserError, match=r"features: size = '0224' is refused: .*plain digits"):
        load_dataset(str(card))


def test_word_vectors_that_say_nothing_are_told(card: Path) -> None:
    card.write_text(CARD + "word_vectors: w.npy\n")
    for table, said in (
        (np.eye(3), ()),
        (np.diag([1, 0, 1]), ("the word vectors of 1 attributes are zero ('blue')",)),
        (np.ones((3, 2)), ("all 3 attributes have one and the same word vector",)),
    ):
        np.save(card.parent / "w.npy", table)
        assert [n for n in load_dataset(str(card)).notes if "word vector" in n] == [*said]


def test_another_seed_is_another_split(card: Path) -> None:
    before = load_dataset(str(card)).fingerprints()["split"]
    card.write_text(CARD + "seed: 1\n")
    assert load_dataset(str(card)).fingerprints()["split"] != before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c.write_text(CARD.replace("images: images", "image: images")),
            'did you mean "images"',
        ),
        (
            lambda c: c.write_text(CARD.replace("images: images", "images: photos")),
            "images: there is no folder",
        ),
        (
            lambda c: c.write_text(CARD.replace("images: images", "images: ../..")),
            "leads out of the card's folder",
        ),
        (
            lambda c: c.write_text(CARD.replace("classes.csv", "klasses.csv")),
            "attributes: there is no file",
        ),
        (
            lambda c: c.write_text(CARD.replace("[wren]", "[wrn]")),
            "'wrn' has no row in classes.csv; did you mean \"wren\"",
        ),
        (lambda c: c.write_text(CARD.replace("[wren]", "[]")), "0 of 4 classes are unseen"),
        (
            lambda c: c.write_text(CARD.replace("[red, blue]", "[rot]")),
            "'rot', which is no attribute",
        ),
        (lambda c: c.write_text(CARD + "name: [1"), "this is not YAML"),
        (lambda c: c.write_text(CARD + "test_seen_share: 2\n"), "test_seen_share"),
        (
            lambda c: (c.parent / "images" / "wren").rename(c.parent / "images" / "wrens"),
            "is 'wren' the folder 'wrens'?",
        ),
        (
            lambda c: (c.parent / "images" / "owl").mkdir(),
            "1 folders there have no row in the CSV ('owl')",
        ),
        (
            lambda c: (c.parent / "classes.csv").write_text(TABLE.replace("0,1,3", "0,1")),
            "line 2: 'crow' has 2 values",
        ),
        (
            lambda c: (c.parent / "classes.csv").write_text(TABLE.replace("0,1,3", "0,x,3")),
            "column 'blue': 'x' is no finite number",
        ),
        (
            lambda c: (c.parent / "classes.csv").write_text(TABLE.replace("0,1,3", "0,inf,3")),
            "'inf' is no finite number",
        ),
        (
            lambda c: (c.parent / "classes.csv").write_text(TABLE.replace("0,1,3", "0,1,1.000")),
            "column 'size': '1.000' stands beside whole numbers and may mean 1 or 1000",
        ),
        (
            lambda c: (c.parent / "classes.csv").write_text(TABLE.replace("wren,", "crow,")),
            "the class 'crow' stands twice",
        ),
        (
            lambda c: (c.parent / "classes.csv").write_bytes(b"a,\xff\xfe\x00"),
            "cannot be read as CSV",
        ),
        (
            lambda c: [p.unlink() for p in (c.parent / "images" / "crow").glob("*.PNG")],
            "holds no image",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(
    card: Path, change: Callable[[Path], object], words: str
) -> None:
    change(card)
    with pytest.raises(UserError) as error:
        load_dataset(str(card))
    assert words in str(error.value)
    assert str(card) in str(error.value) or "classes.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sizes", [("3.000", "1.250"), ("1.234", "20"), ("0.500", "1.000", "2")])
def test_decimals_are_no_thousands(card: Path, sizes: tuple[str, ...]) -> None:
    names = CLASSES[: len(sizes)]
    rows = [f"{name},0,{k},{size}" for k, (name, size) in enumerate(zip(names, sizes, strict=True))]
    (card.parent / "t.csv").write_text("\n".join(["class,red,blue,size", *rows]), "utf-8")
    table = read_class_table(card.parent / "t.csv")
    np.testing.assert_array_equal(table.values[:, 2], np.float32([float(size) for size in sizes]))


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no dataset card"):
        load_dataset(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="no dataset 'digit'; did you mean \"digits\""):
        load_dataset("digit")


def test_a_folder_or_a_card_in_place_of_a_name_is_told_with_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=r"'photos'.* write a card, with: zslkit data new photos$"):
        load_dataset("photos")
    (tmp_path / "photos.yaml").write_text("name: photos\n")
    with pytest.raises(UserError, match=r"'photos'.* For the card photos\.yaml give its path$"):
        load_dataset("photos")
    with pytest.raises(UserError, match=r'photo\.yaml; did you mean "photos\.yaml"\? List'):
        load_dataset("photo.yaml")


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6), st.floats(0.05, 0.95), st.integers(0, 99)
)
def test_holding_out_parts_every_seen_class_and_no_unseen_one(
    sizes: list[int], share: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    split = hold_out(labels, range(len(sizes) - 1), [len(sizes) - 1], share, seed)
    parts = list(split.parts().values())
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert set(labels[split.test_unseen]) == {len(sizes) - 1}
    for k, n in enumerate(sizes[:-1]):
        assert int((labels[split.test_seen] == k).sum()) == min(round(share * n), n - 1)


@pytest.mark.parametrize(
    ("name", "attributes", "groups"), [("CUB", 312, 28), ("SUN", 102, 4), ("AWA2", 85, 0)]
)
def test_shipped_cards_name_every_attribute_once(name: str, attributes: int, groups: int) -> None:
    card = shipped_card(name)
    assert card is not None and len(card.names) == attributes == len(set(card.names))
    assert len(card.groups) >= groups
    columns = [c for group in card.groups.values() for c in group]
    assert len(columns) == len(set(columns)) and set(columns) <= set(range(attributes))


@pytest.mark.parametrize("text", ["", "[]", "a: b: c", "name: x"])
def test_a_file_that_is_no_card(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises((UserError, DataError)) as error:
        load_dataset(str(tmp_path / "c.yaml"))
    assert "c.yaml" in str(error.value)


def test_word_vectors_go_to_the_attributes_that_their_note_names(card: Path) -> None:
    home = card.parent
    (home / "v.txt").write_text("red 1 0\nblue 0 1\nsize 2 2\n")
    phrases = phrases_of(("red", "blue", "size"))
    write(home / "w.npy", "birds", phrases, TextSource.read(home / "v.txt", phrases))
    card.write_text(CARD + "word_vectors: w.npy\n")

    def vectors(header: str) -> list[list[float]]:
        (home / "classes.csv").write_text(TABLE.replace("red,blue,size", header), encoding="utf-8")
        found = load_dataset(str(card)).semantics.word_vectors
        assert found is not None
        return found.tolist()

    assert vectors("red,blue,size") == [[1, 0], [0, 1], [2, 2]]
    assert vectors("size,red,blue") == [[2, 2], [1, 0], [0, 1]]
    with pytest.raises(DataError, match=r"w\.npy: 1 of 3 attributes have no vector .*'legs'"):
        vectors("red,blue,legs")
    (home / "w.json").unlink()  # without a note they follow the columns
    assert vectors("size,red,blue") == [[1, 0], [0, 1], [2, 2]]
