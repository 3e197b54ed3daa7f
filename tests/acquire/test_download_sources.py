"""What a dataset declares as its archives, and what a name stands for."""

from __future__ import annotations

from typing import Any

import pytest

from zslkit.acquire.sources import downloads_of, needed, read_downloads, shared
from zslkit.errors import UnknownName, UserError
from zslkit.registry import BrokenPlugin


def test_a_name_stands_for_all_that_it_needs() -> None:
    files = {
        name: [d.file for d in needed([name])]
        for name in ("cub", "sun", "awa2", "awa1", "apy", "flo", "xlsa17")
    }
    assert files == {
        "cub": ["CUB_200_2011.tgz", "xlsa17.zip"],
        "sun": ["SUNAttributeDB_Images.tar.gz", "xlsa17.zip"],
        "awa2": ["AwA2-data.zip", "xlsa17.zip"],
        "awa1": ["xlsa17.zip"],
        "apy": ["xlsa17.zip"],
        "flo": ["cvpr18xian.zip"],
        "xlsa17": ["xlsa17.zip"],
    }
    both = needed(["sun", "cub"])
    assert [d.file for d in both] == [
        "SUNAttributeDB_Images.tar.gz",
        "xlsa17.zip",
        "CUB_200_2011.tgz",
    ]
    assert set(both[1].holds) == {
        f"{d}/{f}.mat" for d in ("SUN", "CUB") for f in ("att_splits", "res101")
    }


def test_names_that_stand_for_nothing() -> None:
    with pytest.raises(UnknownName, match="no dataset 'xlsa71'; did you mean \"xlsa17\""):
        needed(["xlsa71"])
    with pytest.raises(UserError, match="'digits' declares nothing to download"):
        downloads_of("digits")
    with pytest.raises(UserError, match=r"my\.yaml: a card describes files that are there already"):
        downloads_of("my.yaml")


OWN = {"file": "b.zip", "urls": ["https://example.org/b.zip"], "folder": "b", "holds": ["x"]}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([{**OWN, "folder": "../b"}], "folder = '../b' is refused: it is no relative path"),
        ([{**OWN, "folder": "/b"}], "no relative path"),
        ([{**OWN, "holds": ["../../x"]}], "no relative path"),
        ([{**OWN, "holds": []}], "holds"),
        ([{**OWN, "file": "../b.zip"}], "file = '../b.zip' is refused"),
        ([{**OWN, "urls": ["file:///etc/passwd"]}], "no http:// or https:// address"),
        ([{**OWN, "urls": []}], "urls"),
        ([{**OWN, "md5": "abc"}], "md5"),
        ([{**OWN, "foldr": "b"}], "has no setting 'foldr'; did you mean \"folder\""),
        ([{"file": "b.zip"}], "lacks"),
        (["xlsa71"], "no shared archive 'xlsa71'; did you mean \"xlsa17\"?"),
        ([{"shared": "xlsa17", "folder": "b"}], "and not 'folder'"),
        ("xlsa17", "put brackets around it"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_named(said: Any, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_downloads("mine", said)
    assert str(error.value).startswith("mine: downloads") and words in str(error.value)


def test_a_plugin_with_a_bad_declaration_is_named_as_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from zslkit.datasets.xlsa17 import CUB

    monkeypatch.setattr(CUB, "downloads", [OWN | {"holds": 3}])
    with pytest.raises(BrokenPlugin, match="holds = 3"):
        downloads_of("cub")


def test_two_archives_of_one_name_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from zslkit.datasets.xlsa17 import CUB, SUN

    monkeypatch.setattr(CUB, "downloads", [OWN])
    monkeypatch.setattr(SUN, "downloads", [{**OWN, "folder": "c"}])
    with pytest.raises(UserError, match=r"sun: another dataset has an archive b\.zip too"):
        needed(["cub", "sun"])


def test_shared_archives_go_where_the_datasets_read_them() -> None:
    from zslkit.datasets import xlsa17

    for source in (xlsa17.CUB, xlsa17.SUN, xlsa17.AWA2):
        photos = read_downloads("x", source.downloads)[0]
        assert source.photos.startswith(photos.folder)
        assert all(f"{photos.folder}/{path}".startswith(source.photos) for path in photos.holds)
    for source in (xlsa17.CUB, xlsa17.SUN, xlsa17.AWA2, xlsa17.AWA1, xlsa17.APY, xlsa17.FLO):
        splits = read_downloads("x", source.downloads)[-1]
        assert {f"{splits.folder}/{p}" for p in splits.holds} == {
            f"xlsa17/data/{source.folder}/{f}.mat" for f in ("att_splits", "res101")
        }
    assert len({d.file for d in shared().values()}) == len(shared())
