"""Text that users write: what editors and spreadsheets put before it, and what costs more than it
says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zslkit.acquire.feature_files import read_labels
from zslkit.config import yaml_lines
from zslkit.config.merge import parse_set, read_yaml
from zslkit.datasets.attribute_names import read_names
from zslkit.datasets.attribute_table import read_class_table
from zslkit.datasets.card import _unseen, inside
from zslkit.datasets.card_keys import FolderCard, card_settings
from zslkit.datasets.cub2010 import CUB2010
from zslkit.errors import UserError
from zslkit.readers import csv_file
from zslkit.readers.vectors_text import look_up
from zslkit.report.study import read_study
from zslkit.utils.files import parse_json, read_small
from zslkit.verify.material import _lines

MARK = "\ufeff"


def unseen(path: Path) -> Any:
    card = FolderCard(name="x", images="x", attributes="x", unseen=str(path))
    return _unseen(path.with_name("card.yaml"), card, ("a", "b"))


def unseen_of_cub(path: Path) -> Any:
    path.rename(path.with_name("testclasses.txt"))
    (path.parent / "xlsa17" / "data").mkdir(parents=True)
    (path.parent / "xlsa17" / "data" / "CUB").symlink_to(path.parent)
    return CUB2010()._unseen("cub2010", path.parent, ("a", "b"))


READERS: dict[str, tuple[str, str, Callable[[Path], Any], Any]] = {
    "settings": ("a.yaml", "a: 1\n", lambda p: read_yaml(p).values, {"a": 1}),
    "card": ("a.yaml", "name: x\n", lambda p: card_settings(p).values, {"name": "x"}),
    "study": ("a.yaml", "title: x\nmodel: y\n", lambda p: read_study(p).title, "x"),
    "JSON": ("a.json", "[1]", lambda p: parse_json(read_small(p)), [1]),
    "class table": (
        "a.csv",
        '"class, by name",big\nauk,1\n',
        lambda p: read_class_table(p).attributes,
        ("big",),
    ),
    "names": ("a.txt", "1 big\n2 red\n", read_names, ("big", "red")),
    "unseen classes": ("a.txt", "a\n", unseen, {0}),
    "unseen classes of CUB": ("a.txt", "a\n", unseen_of_cub, {0}),
    "class lists": ("a.txt", "a\nb\n", _lines, ("a", "b")),
    "labels": ("a.txt", "1\n2\n", lambda p: read_labels(p).tolist(), [1, 2]),
    "word vectors": (
        "a.txt",
        "red 1 0\n",
        lambda p: look_up(p, {"red"})[0]["red"].tolist(),
        [1, 0],
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str) -> None:
    file, text, read, found = READERS[name]
    (tmp_path / file).write_text(MARK + text, encoding="utf-8")
    assert read(tmp_path / file) == found


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("JSON", "class lists")])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_told_with_the_way_on(tmp_path: Path, name: str, encoding: str) -> None:
    file, text, read, _ = READERS[name]
    (tmp_path / file).write_text(MARK + text, encoding=encoding)
    with pytest.raises(UserError, match=r"UTF-16 text; save it as UTF-8"):
        read(tmp_path / file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", [name for name in READERS if name not in ("JSON", "class lists")])
def test_a_pipe_in_the_place_of_a_file_is_told_and_waited_for_never(
    tmp_path: Path, name: str
) -> None:
    file, _, read, _ = READERS[name]
    os.mkfifo(tmp_path / file)
    with pytest.raises(UserError):
        read(tmp_path / file)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2001-99-99", "'2001-99-99' is no timestamp"),
        ("2001-01-01 00:00:00 +99:99", "is no timestamp"),
        ("9" * 5000, "5,000 signs' is no int"),
        ("0x" + "f" * 5000, "5,002 signs' is no int"),
        ("1" * 5000 + ".5", "is no float"),
        ("!!int x", "'x' is no int"),
        ("!!bool x", "'x' is no bool"),
        ("!!timestamp x", "'x' is no timestamp"),
    ],
)
def test_numbers_and_dates_that_there_are_not_are_told_with_their_line(
    tmp_path: Path, value: str, shown: str
) -> None:
    for text in (f"b: 1\na: {value}\n", *([f"b: 1\n{value}: a\n"] if len(value) < 1000 else [])):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(UserError, match=r"a\.yaml, line 2: this is not YAML \(") as error:
            read_yaml(tmp_path / "a.yaml")
        assert (
            shown in str(error.value)
            and "quotes" in str(error.value)
            and len(str(error.value)) < 300
        )
    assert parse_set([f"a={value}"]).values == {"a": value}


@pytest.mark.parametrize(
    "text",
    [
        "a: [" + "1," * 300_000 + "1]",
        "a:\n" + "- 1\n" * 300_000,
        "- " * 300_000,
        "[" * 300_000,
        "{a: " * 199_999,
    ],
)
def test_what_holds_too_many_values_is_refused_before_it_is_read(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_lines.yaml, "SafeLoader", None)
    with pytest.raises(yaml_lines.TooMuch, match="more than 100,000 values"):
        yaml_lines.load(text)


def test_json_of_millions_of_values_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text in ("[" + "[]," * 600_000 + "[]]", "[" + "0," * 1_100_000 + "0]"):
        with monkeypatch.context() as patched:
            patched.setattr("zslkit.utils.files.json.loads", None)
            with pytest.raises(ValueError, match="more than 1,000,000 values"):
                parse_json(text)


def test_a_loop_of_links_in_a_card_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "round.yaml").symlink_to("round.yaml")
    with pytest.raises(
        UserError, match=r"card\.yaml: images = 'loop/x' is no path that leads anywhere"
    ):
        inside(tmp_path / "card.yaml", "images", "loop/x")
    with pytest.raises(UserError, match=r"There is no dataset card .*round\.yaml"):
        card_settings(tmp_path / "round.yaml")
    with pytest.raises(UserError, match=r"images = 'a\\x00b' is no path that leads anywhere"):
        inside(tmp_path / "card.yaml", "images", "a\0b")


def test_a_table_with_more_columns_or_cells_than_any_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("class," + "x," * 200_000 + "\n")
    with pytest.raises(
        UserError, match=r"a\.csv, line 1: a table of class attributes has at most 100,000 columns"
    ):
        read_class_table(file)
    monkeypatch.setattr(csv_file, "MOST_CELLS", 3)
    file.write_text("class,big\nauk,1\n")
    with pytest.raises(
        UserError, match=r"a\.csv, line 2: a table of class attributes has at most .* and 3 cells"
    ):
        read_class_table(file)
    monkeypatch.setattr(csv_file, "LONGEST_LINE", 9)
    with pytest.raises(UserError, match=r"a\.csv, line 1: no line of a table is that long"):
        read_class_table(file)
