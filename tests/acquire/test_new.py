"""A draft of one's own dataset: what is proposed, what is never touched, and everything that is
still missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zslkit.acquire.new import draft, propose
from zslkit.acquire.new_review import review
from zslkit.datasets.card_keys import read_card
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import DataError, UserError

CLASSES = ("001", "no", "Zaunkönig, klein", "tab: x")
"""Names that YAML or CSV would take for something else."""
FULL = 'class,red,big\n001,1,0\n"Zaunkönig, klein",0,1\nno,1,1\ntab: x,0.5,1\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in CLASSES:
        (tmp_path / "My photos" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "My photos" / name / f"{i}.png")
    return tmp_path / "My photos"


def test_a_draft_once_filled_in_is_the_dataset(folder: Path) -> None:
    made = draft(folder, attributes=["red", "big"])
    assert (made.card.name, made.table.name, set(made.written)) == (
        "My-photos.yaml",
        "My-photos.csv",
        {made.card, made.table},
    )
    assert (
        made.table.read_text(encoding="utf-8")
        == 'class,red,big\n001,,\n"Zaunkönig, klein",,\nno,,\ntab: x,,\n'
    )
    (problem,) = review(made.card).problems
    assert problem.startswith("My-photos.csv: 8 of 8 values are empty (001: red, 001: big, ")
    made.table.write_text(FULL, encoding="utf-8")
    found = review(made.card)
    assert (found.problems, found.remarks) == ((), ())
    assert found.dataset is not None
    assert found.dataset.classes == ("001", "Zaunkönig, klein", "no", "tab: x")
    unseen = read_card(made.card).unseen
    assert [
        c for c, seen in zip(found.dataset.classes, found.dataset.seen, strict=True) if not seen
    ] == unseen
    assert load_dataset(str(made.card)).fingerprints() == found.dataset.fingerprints()


def test_nothing_that_is_there_is_changed(folder: Path) -> None:
    made = draft(folder)
    for change in (
        lambda: made.card.write_text("# mine\n"),
        lambda: made.table.write_text("# mine\n"),
    ):
        change()
    again = draft(folder, attributes=["x"], seed=3)
    assert again.written == ()
    assert made.card.read_text() == made.table.read_text() == "# mine\n"
    made.card.unlink()
    assert draft(folder).written == (made.card,)  # only what is missing
    assert made.table.read_text() == "# mine\n"


def test_the_table_is_the_one_that_the_card_names(folder: Path) -> None:
    card = draft(folder).card
    (folder.parent / "My-photos.csv").rename(folder.parent / "other.csv")
    card.write_text(card.read_text().replace("My-photos.csv", "other.csv"))
    again = draft(folder)
    assert (again.written, again.table) == ((), folder.parent / "other.csv")
    assert not (folder.parent / "My-photos.csv").exists()


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 99))
def test_the_proposal_is_repeatable_and_never_none_or_all(
    count: int, share: float, seed: int
) -> None:
    classes = [f"c{k:02d}" for k in range(count)]
    chosen = propose(classes, share, seed)
    assert chosen == propose(classes, share, seed) == sorted(set(chosen))
    assert len(chosen) == min(max(round(share * count), 1), count - 1)


def test_another_seed_is_another_proposal() -> None:
    classes = [f"c{k:02d}" for k in range(40)]
    assert len({tuple(propose(classes, 0.25, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (
            lambda t: t.replace("no,1,1", "no,,x"),
            ["1 of 8 values are empty (no: red)", "line 4: no: big is 'x', and no number"],
        ),
        (lambda t: t.replace("no,1,1", "no,1"), ["line 4: no has 1 values for 2 attributes"]),
        (
            lambda t: t.replace("no,1,1", "nope,1,nan"),
            ["1 class without a folder", "1 folder of My photos without a row (no)", "'nan'"],
        ),
        (lambda t: t.replace(",", ";"), ["semicolons"]),
        (lambda t: t.replace(",", ";").replace(";", ";one, two ", 1), ["semicolons"]),
        (lambda t: t.replace("no,1,1\n", "no,1,1\nno,1,1\n"), ["the class 'no' stands twice"]),
    ],
)
def test_everything_that_is_wrong_is_told_at_once(
    folder: Path, change: Callable[[str], str], problems: list[str]
) -> None:
    made = draft(folder)
    made.table.write_text(change(FULL), encoding="utf-8")
    found = review(made.card)
    assert found.dataset is None and len(found.problems) == len(problems)
    for told, expected in zip(found.problems, problems, strict=True):
        assert expected in told and "\n" not in told


def test_a_card_that_is_wrong_is_told_too(folder: Path) -> None:
    made = draft(folder)
    made.table.write_text(FULL, encoding="utf-8")
    text = made.card.read_text(encoding="utf-8")
    made.card.write_text(text.replace("images:", "image:"))
    assert 'did you mean "images"' in review(made.card).problems[0]
    made.card.write_text(text.split("unseen:")[0] + "unseen: [wren]\n")
    assert "'wren' has no row" in review(made.card).problems[0]


@pytest.mark.parametrize(
    ("table", "remark"),
    [
        (
            FULL.replace("001,1,0", "001,1,1").replace('klein",0,1', 'klein",0.2,1'),
            "one value for all classes and tell nothing (big)",
        ),
        (FULL.replace("001,1,0", "001,0,0"), "no attribute at all (001)"),
        (FULL.replace("no,1,1", "no,0.5,1"), "no and tab: x have the same attributes"),
        (
            'class,red,big\n001,0,1\n"Zaunkönig, klein",0,2\nno,0,3\ntab: x,1,4\n',
            "that no seen class has, so nothing is learned of it (red)",
        ),
    ],
)
def test_what_weakens_a_dataset_is_remarked(folder: Path, table: str, remark: str) -> None:
    made = draft(folder)
    made.card.write_text(made.card.read_text().split("unseen:")[0] + "unseen: ['tab: x']\n")
    made.table.write_text(table, encoding="utf-8")
    found = review(made.card)
    assert found.dataset is not None
    assert any(remark in told for told in found.remarks), found.remarks


def test_a_seen_class_without_a_test_image_is_remarked(folder: Path) -> None:
    made = draft(folder)
    made.table.write_text(FULL, encoding="utf-8")
    card = read_card(made.card)
    few = next(c for c in CLASSES if c not in card.unseen)
    for i in range(4):
        (folder / few / f"{i}.png").unlink()
    assert any(
        f"too few images for a test image ({few})" in told for told in review(made.card).remarks
    )


def test_folders_that_cannot_be_drafted(folder: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        draft(folder / "nowhere")
    with pytest.raises(
        DataError, match=r"holds 1 folder with images.*is .*My photos the folder that is meant\?"
    ):
        draft(folder.parent)
    with pytest.raises(UserError, match="is no name for a dataset"):
        draft(folder, name="a/b")
    with pytest.raises(UserError, match="stands twice"):
        draft(folder, attributes=["red", " red"])
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no image"):
        draft(folder)
    assert [p.name for p in folder.parent.iterdir()] == ["My photos"]
