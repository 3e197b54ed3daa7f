"""Names that are one to the eye are one name, told with the difference; and no photo ever stands in
two sets."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from zslkit.acquire.new import draft
from zslkit.acquire.new_review import review
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import DataError
from zslkit.readers.images import FileImages
from zslkit.readers.names import clash, match, same_look, same_name, shown

COMPOSED, APART = "caf\u00e9", "cafe\u0301"
SAME = {
    "decomposed": (COMPOSED, APART),
    "wide signs": ("fox", "\uff46\uff4f\uff58"),
    "a ligature": ("fi", "\ufb01"),
    "blanks around": ("fox", " fox "),
    "two blanks": ("red fox", "red  fox"),
    "a blank that does not break": ("red fox", "red\u00a0fox"),
    "no width": ("fox", "f\u200box"),
    "a soft hyphen": ("fox", "f\u00adox"),
}


@pytest.mark.parametrize("names", SAME.values(), ids=SAME)
def test_what_looks_the_same_is_one_name(names: tuple[str, str]) -> None:
    assert same_look(names[0]) == same_look(names[1])
    assert clash(["wren", *names]) == names


def test_case_makes_no_other_name_but_another_look() -> None:
    for a, b in (("Fox", "fOX"), ("STRASSE", "straße"), ("\u01c4", "\u01c6")):
        assert same_name(a) == same_name(b) and clash([a, b]) == (a, b)
    assert same_look("Fox") != same_look("fox")
    assert clash(["fox", "box", "fox-box", "fox_box"]) is None


def test_names_are_joined_only_where_one_of_each_side_has_the_name() -> None:
    assert match([COMPOSED, "Wren"], ["wren ", APART, "owl"]) == {COMPOSED: APART, "Wren": "wren "}
    assert match([COMPOSED], [COMPOSED, APART]) == {}
    assert match([COMPOSED, APART, "owl"], [APART, "owl"]) == {"owl": "owl"}


def test_the_difference_can_be_seen() -> None:
    assert shown("wren") == "'wren'"
    assert (shown(COMPOSED), shown(APART)) == (
        f"'{COMPOSED}' (caf\\xe9)",
        f"'{APART}' (cafe\\u0301)",
    )
    assert "\\udce9" in shown("caf\udce9")


def photos(home: Path, *classes: str, count: int = 4) -> None:
    for number, name in enumerate(classes):
        (home / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (4, 4), (i, number, 0)).save(home / name / f"{i}.png")


def card_of(folder: Path, rows: list[str], unseen: str) -> Path:
    table = "class,a,b\n" + "".join(f"{name},{i},1\n" for i, name in enumerate(rows))
    (folder / "t.csv").write_text(table, encoding="utf-8")
    (folder / "c.yaml").write_text(
        f"name: c\nimages: i\nattributes: t.csv\nunseen: ['{unseen}']\n", encoding="utf-8"
    )
    return folder / "c.yaml"


@pytest.mark.parametrize(
    ("folders", "rows"),
    [
        ((COMPOSED, APART, "owl", "wren"), (COMPOSED, "owl", "wren")),
        ((COMPOSED, APART, "owl", "wren"), (COMPOSED, APART, "owl", "wren")),
        ((COMPOSED, "owl", "wren"), (COMPOSED, APART, "owl", "wren")),
        (("fox", "Fox", "owl"), ("fox", "Fox", "owl")),
        (("fox", "owl"), ("fox", "Fox", "owl")),
        (("fox", "fox ", "owl"), ("fox", "owl")),
    ],
)
def test_classes_of_one_name_are_refused_and_both_are_shown(
    tmp_path: Path, folders: tuple[str, ...], rows: tuple[str, ...]
) -> None:
    photos(tmp_path / "i", *folders)
    card = card_of(tmp_path, list(rows), "owl")
    with pytest.raises(DataError) as error:
        load_dataset(str(card))
    told, (problem, *_) = str(error.value), review(card).problems
    pair = clash(folders) or clash(rows)
    assert pair is not None
    for sentence in (told, problem):
        assert shown(pair[0]) in sentence and shown(pair[1]) in sentence and "\n" not in sentence
    if clash(folders):
        with pytest.raises(DataError, match=r"look the same|but for capitals"):
            draft(tmp_path / "i", name="other")
        assert not (tmp_path / "other.yaml").exists()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_one_of_each_is_joined_however_it_is_written(tmp_path: Path, form: str) -> None:
    photos(tmp_path / "i", unicodedata.normalize(form, "Zaunkönig"), "Owl", "wren")
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    data = load_dataset(
        str(card_of(tmp_path, [unicodedata.normalize(other, "Zaunkönig"), "owl", "wren"], "OWL"))
    )
    assert len(data.labels) == 12 and data.seen.tolist() == [True, False, True]
    assert data.images is not None
    keys = [data.images.key(int(i)) for part in data.split.parts().values() for i in part]
    assert len(keys) == len(set(keys)) == 12


def test_an_unseen_class_that_is_named_twice_in_two_ways_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "i", COMPOSED, "owl", "wren")
    card = card_of(tmp_path, [COMPOSED, "owl", "wren"], COMPOSED)
    card.write_text(
        card.read_text(encoding="utf-8").replace(f"['{COMPOSED}']", f"['{COMPOSED}', '{APART}']"),
        encoding="utf-8",
    )
    with pytest.raises(DataError, match="unseen classes look the same"):
        load_dataset(str(card))


def test_a_path_stands_once_in_a_list_of_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a\.png' stands twice"):
        FileImages(tmp_path, ["a.png", "b.png", "a.png"])
