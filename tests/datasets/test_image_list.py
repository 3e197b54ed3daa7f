"""Photos by a list: path, label and split of each; what is read alike, and each mistake with its
line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zslkit.acquire.new import draft
from zslkit.acquire.new_review import review
from zslkit.cli import app
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import UserError

TABLE = "class,red,legs\nant,0,1\nbee,0.2,1\ncicada,1,0.5\nmoth,1,0\n"
CARD = "name: q\nimages: list.csv\nattributes: t.csv\n"
UNSEEN = "unseen: [cicada, moth]\n"
SETS = {
    "ant": ("trainval", "trainval", "test_seen"),
    "bee": ("trainval", "test_seen", "trainval"),
    "cicada": ("test_unseen",) * 3,
}


def rows(split: bool) -> list[str]:
    lines = ["path,label,split" if split else "path,label"]
    for label, parts in SETS.items():
        for i, part in enumerate(parts):
            lines.append(f"all/{label}-{i}.png,{label}" + (f",{part}" if split else ""))
    return lines


def written(folder: Path, lines: list[str], card: str = CARD + UNSEEN) -> Path:
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "q.yaml").write_text(card, encoding="utf-8")
    return folder / "q.yaml"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "all").mkdir()
    for k, label in enumerate(SETS):
        for i in range(3):
            Image.new("RGB", (8, 8), (80 * i, 80 * k, 9)).save(
                tmp_path / "all" / f"{label}-{i}.png"
            )
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path


def said(card: Path) -> str:
    with pytest.raises(UserError) as error:
        load_dataset(str(card))
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("unseen", ["", UNSEEN], ids=["told by the list", "named in the card"])
def test_the_split_is_that_of_the_list(home: Path, unseen: str) -> None:
    data = load_dataset(str(written(home, rows(split=True), CARD + unseen)))
    assert {part: index.tolist() for part, index in data.split.parts().items()} == {
        "trainval": [0, 1, 3, 5],
        "test_seen": [2, 4],
        "test_unseen": [6, 7, 8],
    }
    assert data.classes == ("ant", "bee", "cicada", "moth")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.seen.tolist() == [True, True, False, False]
    assert data.images is not None and data.images.key(5) == "all/bee-2.png"
    assert data.notes == (
        "1 of 2 unseen classes has no photo ('moth'): they may be answered, and T1 and U are means "
        "over the other 1",
    )


def test_without_a_split_a_share_is_held_out_as_of_folders(home: Path) -> None:
    card = CARD + UNSEEN + "test_seen_share: 0.34\n"
    listed = load_dataset(str(written(home, rows(split=False), card)))
    for label in SETS:
        (home / "photos" / label).mkdir(parents=True)
        for i in range(3):
            os.link(home / "all" / f"{label}-{i}.png", home / "photos" / label / f"{i}.png")
    (home / "f.yaml").write_text(card.replace("list.csv", "photos"))
    folders = load_dataset(str(home / "f.yaml"))  # moth has no folder: it is unseen
    assert listed.fingerprints() == folders.fingerprints()
    assert [len(part) for part in listed.split.parts().values()] == [4, 2, 3]


def test_what_spreadsheets_and_other_systems_write_is_read_alike(home: Path) -> None:
    plain = load_dataset(str(written(home, rows(split=True))))
    (home / "all" / "caf\u00e9").mkdir()
    os.rename(home / "all/ant-0.png", home / "all/caf\u00e9/ant-0.png")
    lines = rows(split=True)
    lines[0] = "\ufeff Path , LABEL,Split,photographer"
    lines[1:] = [f" {line.upper()} ,me" for line in lines[1:]]
    lines[1] = "./all//cafe\u0301/ant-0.PNG, Ant ,trainval,me"
    lines[2] = "all\\ant-1.png,ANT,Trainval,me"
    lines[4] = 'all/bee-0.png, "bee", "trainval",me'  # else the quotes are part of the name
    lines = [line.replace(" Ant ", "ANT").replace("bee", "BEE") for line in lines]
    data = load_dataset(str(written(home, lines)))
    assert data.fingerprints() == plain.fingerprints()
    assert data.images is not None
    assert [data.images.key(i) for i in (0, 1, 8)] == [
        "all/caf\u00e9/ant-0.png",
        "all/ant-1.png",
        "all/cicada-2.png",
    ]
    assert data.notes[0] == "list.csv: not read: photographer"


WRONG: dict[str, tuple[Callable[[list[str]], object], str]] = {
    "missing": (
        lambda r: r.__setitem__(2, "all/ant-9.png,ant,trainval"),
        "1 of 9 photos are not there ('all/ant-9.png' on line 3)",
    ),
    "a folder": (lambda r: r.__setitem__(2, "all,ant,trainval"), "1 of 9 photos are not there"),
    "a long name": (
        lambda r: r.__setitem__(2, f"{'x' * 5000},ant,trainval"),
        "1 of 9 photos are not there",
    ),
    "two labels": (
        lambda r: r.append("all/ant-0.png,bee,trainval"),
        "'all/ant-0.png' stands under two classes, 'ant' and 'bee' (lines 2 and 11)",
    ),
    "two sets": (
        lambda r: r.append("all/ant-0.png,ant,test_seen"),
        "'all/ant-0.png' stands in two sets, trainval and test_seen (lines 2 and 11)",
    ),
    "twice": (
        lambda r: r.append("./all/ant-0.png,ant,trainval"),
        "'all/ant-0.png' stands twice (lines 2 and 11)",
    ),
    "unknown set": (
        lambda r: r.__setitem__(3, "all/ant-2.png,ant,test_sen"),
        "line 4: there is no part of a split 'test_sen'; did you mean \"test_seen\"",
    ),
    "empty set": (
        lambda r: r.__setitem__(3, "all/ant-2.png,ant,"),
        "line 4: the split is empty; write trainval",
    ),
    "no test_seen": (
        lambda r: r.__setitem__(slice(None), [x.replace("test_seen", "trainval") for x in r]),
        "no photo is in test_seen",
    ),
    "unseen in training": (
        lambda r: r.__setitem__(7, "all/cicada-0.png,cicada,trainval"),
        "1 classes have photos in trainval and in test_unseen ('cicada')",
    ),
    "unseen as seen": (
        lambda r: r.__setitem__(7, "all/cicada-0.png,cicada,test_seen"),
        "1 classes have photos in test_seen and none in trainval ('cicada')",
    ),
    "no attributes": (
        lambda r: r.__setitem__(7, "all/cicada-0.png,cicade,test_unseen"),
        "1 of its classes have no row in the attributes or descriptions of the card ('cicade'); "
        'did you mean "cicada"',
    ),
    "two spellings": (
        lambda r: r.__setitem__(2, "all/ant-1.png,Ant,trainval"),
        "are the same but for capitals: 'ant' and 'Ant'",
    ),
    "absolute": (
        lambda r: r.__setitem__(2, "/etc/ant.png,ant,trainval"),
        "line 3: '/etc/ant.png' is an absolute path",
    ),
    "absolute on Windows": (
        lambda r: r.__setitem__(2, "C:\\a\\ant.png,ant,trainval"),
        "is an absolute path",
    ),
    "escaping": (
        lambda r: r.__setitem__(2, "all/../../ant.png,ant,trainval"),
        "line 3: 'all/../../ant.png' leads out of the folder of the list",
    ),
    "escaping on Windows": (
        lambda r: r.__setitem__(2, "all\\..\\..\\ant.png,ant,trainval"),
        "leads out of the folder of the list",
    ),
    "empty path": (lambda r: r.__setitem__(2, ",ant,trainval"), "line 3: the path is empty"),
    "empty label": (lambda r: r.__setitem__(2, "all/ant-1.png,,trainval"), "the label is empty"),
    "too few cells": (
        lambda r: r.__setitem__(2, "all/ant-1.png,ant"),
        "line 3: it has 2 cells and the header 3",
    ),
    "semicolons": (
        lambda r: r.__setitem__(slice(None), [x.replace(",", ";") for x in r]),
        "semicolons between its columns",
    ),
    "tabs": (
        lambda r: r.__setitem__(slice(None), [x.replace(",", "\t") for x in r]),
        "tabs between its columns",
    ),
    "UTF-16 without a mark": (
        lambda r: r.__setitem__(0, "\0".join(r[0])),
        "is no plain text (UTF-16?)",
    ),
    "a null byte": (
        lambda r: r.__setitem__(2, "all/ant\0-1.png,ant,trainval"),
        "line 3: 'all/ant\\x00-1.png' is no path",
    ),
    "other names": (
        lambda r: r.__setitem__(0, "file,class,part"),
        "no column path and no column label; its columns are 'file', 'class', 'part'; rename "
        "'file' to path, 'class' to label, 'part' to split",
    ),
    "a split by another name": (
        lambda r: r.__setitem__(0, "path,label,which"),
        "the column 'which' seems to hold the split",
    ),
    "only a header": (lambda r: r.__delitem__(slice(1, None)), "a list of images has the header"),
    "nothing": (lambda r: r.clear(), "a list of images has the header"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_each_mistake_is_told_with_its_line(home: Path, kind: str) -> None:
    lines = rows(split=True)
    WRONG[kind][0](lines)
    words = said(written(home, lines))
    assert WRONG[kind][1] in words and "list.csv" in words, words


def test_a_photo_that_a_link_puts_out_of_the_folder_or_in_twice_is_refused(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("out") / "x.png"
    Image.new("RGB", (8, 8)).save(out)
    (home / "all" / "link.png").symlink_to(out)
    lines = [*rows(split=True), "all/link.png,ant,trainval"]
    assert "'all/link.png' is a link that leads out of" in said(written(home, lines))
    (home / "all" / "link.png").unlink()
    (home / "all" / "link.png").symlink_to(home / "all" / "bee-0.png")
    assert (
        "'all/bee-0.png' and 'all/link.png' are one file and stand under two classes, 'bee' and "
        "'ant'" in said(written(home, lines))
    )


@pytest.mark.parametrize(
    ("card", "split", "words"),
    [
        (CARD, False, "lacks 'unseen'; add it, or a column split to list.csv"),
        (CARD + "unseen: [moth]\n", True, "do not stand in unseen ('cicada')"),
        (
            CARD + "unseen: [bee, cicada, moth]\n",
            True,
            "have photos in trainval of list.csv ('bee')",
        ),
        (CARD + "unseen: [cicada]\n", False, "1 seen classes have no photo in list.csv ('moth')"),
        (CARD + "unseen: [moth]\n", False, "no unseen class has a photo"),
        (CARD + "seed: 3\n", True, "seed would change nothing, since list.csv states the split"),
        (CARD.replace("list.csv", "lost.csv") + UNSEEN, True, "there is no file"),
        (CARD.replace("list.csv", "../list.csv") + UNSEEN, True, "leads out of the card's folder"),
    ],
)
def test_a_card_that_contradicts_its_list(home: Path, card: str, split: bool, words: str) -> None:
    lines = rows(split)
    if card.endswith("unseen: [moth]\n") and not split:
        lines = lines[:7]
        (home / "t.csv").write_text(TABLE.replace("cicada,1,0.5\n", ""))
    assert words in said(written(home, lines, card))


def test_a_seen_class_without_a_folder_is_still_a_mistake(home: Path) -> None:
    for label in SETS:
        (home / "photos" / label).mkdir(parents=True)
        os.link(home / "all" / f"{label}-0.png", home / "photos" / label / "0.png")
        os.link(home / "all" / f"{label}-1.png", home / "photos" / label / "1.png")
    (home / "f.yaml").write_text(
        CARD.replace("list.csv", "photos") + "unseen: [cicada]\ntest_seen_share: 0.5\n"
    )
    assert "1 classes of f.yaml's CSV have no folder" in said(home / "f.yaml")
    (problem,) = review(home / "f.yaml").problems
    assert "1 class without a folder in photos (moth)" in problem
    (home / "f.yaml").write_text(
        (home / "f.yaml").read_text().replace("[cicada]", "[moth, cicada]")
    )
    assert review(home / "f.yaml").problems == ()


@pytest.mark.parametrize("split", [True, False])
def test_a_draft_of_a_list_once_filled_in_is_the_dataset(home: Path, split: bool) -> None:
    written(home, rows(split))
    made = draft(home / "list.csv", attributes=["red", "legs"])
    assert [path.name for path in made.written] == ["list-attributes.csv", "list.yaml"]
    assert made.table.read_text() == "class,red,legs\nant,,\nbee,,\ncicada,,\n"
    assert ("cicada" in made.card.read_text()) or not split
    (problem,) = review(made.card).problems
    assert "6 of 6 values are empty" in problem
    made.table.write_text(TABLE.replace("moth,1,0\n", ""))
    card = made.card.read_text() + ("" if split else "test_seen_share: 0.4\n")
    made.card.write_text(card)
    found = review(made.card)
    assert found.problems == () and found.dataset is not None
    assert not any("first level" in remark for remark in found.remarks)
    (home / "list.csv").write_text((home / "list.csv").read_text().replace("bee-0", "bee-7"))
    (problem,) = review(made.card).problems
    assert "1 of 9 photos are not there" in problem


def test_the_shared_case_is_refused_with_what_to_rename(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = shared / "cases" / "image-list" / "q.yaml"
    if not card.is_file():
        pytest.skip("needs the case of a list of images")
    for command in ("info", "verify"):
        app.main(["data", command, str(card)])
        out, err = capsys.readouterr()
        assert "rename 'file' to path, 'class' to label, 'part' to split" in out + err


@pytest.mark.slow
def test_the_commands_take_a_list_as_they_take_folders(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    written(
        home,
        rows(split=True),
        CARD + "features: {backbone: mobilenetv3_small_050, weights: random, size: 32}\n",
    )

    def go(*words: str) -> tuple[int, str]:
        code = app.main([*words])
        out, err = capsys.readouterr()
        return code, out + err

    code, text = go("data", "info", "q.yaml")
    assert code == 0 and "1 of 2 unseen classes has no photo ('moth')" in text
    code, text = go("data", "verify", "q.yaml")
    assert code == 0 and "images open" in text and "all 9" in text, text
    code, text = go("run", "--model", "eszsl", "--dataset", "q.yaml", "--out", "runs")
    assert code == 0 and "1 of 4 classes have no test image and count in no mean: moth" in text
    (run,) = (home / "runs").glob("q/eszsl/seed*[0-9a-f]/")
    code, text = go("predict", str(run), "all/cicada-0.png", "--classes", "unseen")
    assert code == 0 and "moth" in text and "cicada" in text, text


def test_thousands_of_photos_are_read_in_time_that_grows_with_their_number(home: Path) -> None:
    counted: list[Any] = []
    listdir = os.listdir
    lines = rows(split=True) + [f"all/lost-{i}.png,ant,trainval" for i in range(2000)]
    card = written(home, lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", lambda place: (counted.append(place), listdir(place))[1])
        words = said(card)
    assert "2000 of 2009 photos are not there" in words and len(words) < 600
    assert len(counted) <= 2
