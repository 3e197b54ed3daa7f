"""A file or a folder is replaced whole, or stays as it was; what a killed process left is ended or
cleared by the next one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from zslkit.utils import files
from zslkit.utils.files import clear, leftovers, marked, move, recover, replacing, replacing_folder


def dead() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    return bool(request.param)


def test_the_new_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_and_nothing_beside_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as beside:
        beside.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_permissions_follow_the_umask_whatever_wrote_the_file(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a") as beside:
            beside.unlink()
            beside.touch(
                0o600
            )  # as a library does that writes to a temporary file of its own and renames it
        with replacing_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode
    assert (tmp_path / "b").stat().st_mode & 0o777 == mode | mode >> 2 & 0o111


def test_two_at_once_do_not_write_to_one_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as one:
        one.write_text("one")
        with replacing(tmp_path / "a") as other:
            other.write_text("other")
        assert one.read_text() == "one"
    assert (tmp_path / "a").read_text() == "one" and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_takes_the_place_of_another_with_all_in_it(tmp_path: Path, swap: bool) -> None:
    path = tmp_path / "page"
    for text in ("old", "new"):
        with replacing_folder(path) as beside:
            (beside / f"{text}.txt").write_text(text)
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == [
        "page",
        "page/new.txt",
    ]


def test_a_folder_that_may_not_be_replaced_any_more_stays(tmp_path: Path, swap: bool) -> None:
    (tmp_path / "page").mkdir()

    def check() -> None:
        raise ValueError("a stranger's file")

    with (
        pytest.raises(ValueError, match="stranger"),
        replacing_folder(tmp_path / "page", check) as beside,
    ):
        (beside / "new").touch()
    assert list(tmp_path.rglob("*")) == [tmp_path / "page"]


class Killed(BaseException):
    """No handler does anything after this: every further change fails too."""


CHANGES = ("replace", "rename", "unlink", "rmdir", "mkdir", "remove")


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let the change of that number, and all that come after it, raise."""
    count = 0
    real = {name: getattr(os, name) for name in CHANGES}

    def change(name: str, *arguments: object, **more: object) -> object:
        nonlocal count
        count += 1
        if count >= number:
            raise Killed
        return real[name](*arguments, **more)

    with monkeypatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, lambda *a, name=name, **k: change(name, *a, **k))
        yield count


def test_killed_before_any_change_it_is_ended_or_cleared_by_the_next(
    tmp_path: Path, swap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, met = tmp_path / "page", set()
    for number in range(1, 30):
        with replacing_folder(path) as beside:
            (beside / "a").write_text("old")
        ended = False
        for _ in killed_at(number, monkeypatch):
            with suppress(Killed), replacing_folder(path) as beside:
                (beside / "a").write_text("new")
                ended = True
        met |= {p.suffix for p in tmp_path.iterdir()}
        recover(path)
        assert [p.name for p in tmp_path.iterdir()] == ["page"], number
        assert (path / "a").read_text() in ("old", "new"), number
        if ended and not leftovers(tmp_path) and number > 8:
            break
    assert met == ({"", ".new"} if swap else {"", ".new", ".old"})


@pytest.mark.parametrize("left", [["new", "old"], ["old"]])
def test_a_folder_that_had_stepped_aside_comes_back(tmp_path: Path, left: list[str]) -> None:
    """Whole is the new one, since the old one steps aside last; without it the old one comes
    back."""
    mark = f"{files._host()}-{dead()}-0"
    for end in left:
        folder = tmp_path / f".page.{mark}.{end}"
        folder.mkdir()
        (folder / end).touch()
    recover(tmp_path / "page")
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == [
        "page",
        f"page/{left[0]}",
    ]


def test_only_what_is_marked_and_left_over_is_cleared(tmp_path: Path) -> None:
    own, elsewhere = files._host(), "ffffff" if files._host() != "ffffff" else "eeeeee"
    stay = [
        "a.new",
        "a.7.new",
        "mine.old",
        f"a.{elsewhere}-7-0.new",
        f"a.{own}-{os.getppid()}-0.new",
        f".a.{own}-1-0.newer",
    ]
    go = [f"a.{own}-{dead()}-0.new", f"b.txt.{own}-{dead()}-12.new"]
    for name in [*stay, *go]:
        (tmp_path / name).touch()
    with marked() as mark:
        (tmp_path / f"a.{mark}.new").touch()
        assert clear(tmp_path, "a") == [tmp_path / go[0]]
        assert [p.name for p in clear(tmp_path)] == go[1:]
        assert {p.name for p in tmp_path.iterdir()} == {*stay, f"a.{mark}.new"}
    assert [p for p, _ in leftovers(tmp_path)] == [tmp_path / f"a.{mark}.new"]


def test_what_another_machine_began_is_left_over_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "ffffff" if files._host() != "ffffff" else "eeeeee"
    (tmp_path / f"a.{elsewhere}-7-0.new").touch()
    now = time.time()
    for hours, left in ((23, 0), (25, 1)):
        monkeypatch.setattr(files.time, "time", lambda then=now + hours * 3600: then)
        assert len(leftovers(tmp_path)) == left
        monkeypatch.undo()


def test_a_move_to_another_disk_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("content")
    (tmp_path / "link").symlink_to("b")

    def rename(source: Path, to: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", rename)
    move(tmp_path / "a", tmp_path / "b")
    move(tmp_path / "link", tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "other"]
    assert (tmp_path / "b").read_text() == (tmp_path / "other").read_text() == "content"
