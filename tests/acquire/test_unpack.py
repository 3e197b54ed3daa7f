"""Archives: what a good one becomes, and that no bad one leaves a trace outside its folder or costs
what was there."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_archives import everything, make_tar, make_zip, special, tree

from zslkit.acquire import unpack as subject
from zslkit.acquire.unpack import Unpacked, unpack
from zslkit.errors import CannotWrite, DataError

FILES = {
    "top/birds/classes.txt": b"1 wren\n",
    "top/birds/images/1/a.jpg": b"photo a",
    "top/readme": b"not wanted",
}
HOLDS = ("classes.txt", "images/1")


GOOD: list[Callable[[Path], Path]] = [
    lambda folder: make_zip(folder / "a.zip", FILES),
    lambda folder: make_tar(folder / "a.tgz", FILES),
    lambda folder: make_tar(folder / "a.tar", FILES, mode="w"),
    lambda folder: make_tar(folder / "a.tar.bz2", FILES, mode="w:bz2"),
    lambda folder: make_tar(folder / "a.tar.xz", FILES, mode="w:xz"),
    lambda folder: make_tar(folder / "named.wrongly.zip", FILES),
]


@pytest.mark.parametrize("make", GOOD)
def test_the_folder_that_holds_the_files_becomes_the_target(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    target = tmp_path / "data" / "birds"
    assert unpack(make(tmp_path), target, HOLDS) == Unpacked(2, 0, ())
    assert tree(tmp_path / "data") == {
        "birds/classes.txt": b"1 wren\n",
        "birds/images/1/a.jpg": b"photo a",
    }


def test_the_outermost_of_two_folders_that_hold_the_files_is_taken(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"old/backup/x/f": b"wrong", "x/f": b"right"})
    unpack(archive, tmp_path / "t", ["x/f"])
    assert tree(tmp_path / "t")["x/f"] == b"right"


def test_only_some_folders_and_no_litter(tmp_path: Path) -> None:
    files = {
        "d/FLO/s.mat": b"1",
        "d/CUB/s.mat": b"2",
        "d/FLO/._s.mat": b"3",
        "__MACOSX/d/FLO/s.mat": b"4",
        "d/FLO/.DS_Store": b"5",
    }
    unpack(make_zip(tmp_path / "a.zip", files), tmp_path / "t", ["FLO/s.mat"], only=["FLO"])
    assert tree(tmp_path / "t") == {"FLO/s.mat": b"1"}


def test_what_is_there_is_kept_and_named_if_it_differs(tmp_path: Path) -> None:
    target = tmp_path / "birds"
    (target / "images" / "1").mkdir(parents=True)
    (target / "classes.txt").write_bytes(b"mine")
    (target / "images" / "mine.jpg").write_bytes(b"mine too")
    assert unpack(make_zip(tmp_path / "a.zip", FILES), target, HOLDS) == Unpacked(
        1, 1, ("classes.txt",)
    )
    assert tree(target) == {
        "classes.txt": b"mine",
        "images/mine.jpg": b"mine too",
        "images/1/a.jpg": b"photo a",
    }
    assert unpack(make_zip(tmp_path / "a.zip", FILES), target, HOLDS).added == 0
    assert everything(tmp_path) == {"a.zip", "birds"} | {f"birds/{p}" for p in everything(target)}


def test_a_target_that_is_a_link_is_filled_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "birds").symlink_to(tmp_path / "disk" / "birds")
    unpack(make_zip(tmp_path / "a.zip", FILES), tmp_path / "birds", HOLDS)
    assert (tmp_path / "birds").is_symlink() and "classes.txt" in tree(tmp_path / "disk" / "birds")


def test_links_inside_the_folder_stay(tmp_path: Path) -> None:
    soft, hard = (
        special("top/birds/images/soft.jpg", tarfile.SYMTYPE, "1/a.jpg"),
        special("top/birds/hard.jpg", tarfile.LNKTYPE, "./top/birds/images/1/a.jpg"),
    )
    unpack(make_tar(tmp_path / "a.tgz", FILES, soft, hard), tmp_path / "t", HOLDS)
    assert (tmp_path / "t/images/soft.jpg").is_symlink()
    assert tree(tmp_path / "t")["images/soft.jpg"] == tree(tmp_path / "t")["hard.jpg"] == b"photo a"


FILE, SOFT, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE: dict[str, tuple[Any, ...]] = {
    "up": ("leads out", ("top/birds/../../../evil", FILE)),
    "backslash up": ("leads out", ("top\\..\\..\\evil", FILE)),
    "absolute": ("leads out", ("/tmp/zslkit-evil", FILE)),
    "drive": ("leads out", ("C:\\evil", FILE)),
    "symlink up": ("leads out", ("top/birds/out", SOFT, "../outside")),
    "symlink absolute": ("leads out", ("top/birds/out", SOFT, "/etc/hostname")),
    "symlink nowhere": ("link to nowhere", ("top/birds/out", SOFT, "nothing")),
    "symlink loop": ("link to nowhere", ("top/birds/out", SOFT, "out")),
    "symlink to a part that is not taken": (
        "link to nowhere",
        ("top/birds/out", SOFT, "../readme"),
    ),
    "symlinks that climb together": (
        "leads out",
        ("top/birds/here", SOFT, "."),
        ("top/birds/out", SOFT, "here/../outside"),
    ),
    "link below a link": (
        "in the way",
        ("top/birds/up", SOFT, ".."),
        ("top/birds/up/evil", SOFT, "outside"),
    ),
    "folder below a link": (
        "in the way",
        ("top/birds/up", SOFT, ".."),
        ("top/birds/up/new/evil", SOFT, "x"),
    ),
    "file below a link": ("in the way", ("top/birds/up", SOFT, ".."), ("top/birds/up/evil", FILE)),
    "hardlink up": ("leads out", ("top/birds/out", HARD, "../outside")),
    "hardlink absolute": ("leads out", ("top/birds/out", HARD, "/etc/hostname")),
    "hardlink to what is not in it": ("leads out", ("top/birds/out", HARD, "outside")),
    "hardlink to a symlink": (
        "leads out",
        ("top/birds/soft", SOFT, "../outside"),
        ("top/birds/out", HARD, "top/birds/soft"),
    ),
    "pipe": ("device", ("top/birds/pipe", tarfile.FIFOTYPE)),
    "character device": ("device", ("top/birds/null", tarfile.CHRTYPE)),
    "block device": ("device", ("top/birds/disk", tarfile.BLKTYPE)),
    "file and folder": ("a file and a folder", ("top/birds/classes.txt/x", FILE)),
}
"""Words of the refusal, then name, kind and link of each member."""


@pytest.fixture
def refuses(tmp_path: Path) -> Callable[[Path, str], None]:
    """refuses(archive, words): unpacking fails with the words and leaves every file as it was."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "outside").write_bytes(b"precious")
    (tmp_path / "outside").write_bytes(b"precious")

    def check(archive: Path, words: str) -> None:
        before = everything(tmp_path)
        with pytest.raises(DataError, match=words):
            unpack(archive, tmp_path / "root" / "birds", HOLDS)
        assert everything(tmp_path) == before
        assert not Path("/tmp/zslkit-evil").exists()

    return check


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_tar_leaves_nothing_behind(
    tmp_path: Path, refuses: Callable[[Path, str], None], case: str
) -> None:
    words, *members = HOSTILE[case]
    archive = make_tar(tmp_path / "a.tgz", FILES, *(special(*member) for member in members))
    refuses(archive, rf"a\.tgz is not to be trusted.*{words}")


def test_an_absolute_link_is_refused_even_into_the_scratch_folder(tmp_path: Path) -> None:
    link = special(
        "top/birds/out", tarfile.SYMTYPE, str(tmp_path.resolve() / ".t.unpacking" / "classes.txt")
    )
    with pytest.raises(DataError, match="leads out"):
        unpack(make_tar(tmp_path / "a.tgz", FILES, link), tmp_path / "t", HOLDS)


@pytest.mark.parametrize(
    ("name", "mode", "content", "words"),
    [
        ("../evil", 0, b"", "leads out"),
        ("/tmp/zslkit-evil", 0, b"", "leads out"),
        ("..\\evil", 0, b"", "leads out"),
        ("top/birds/out", stat.S_IFLNK, b"../outside", "leads out"),
        ("top/birds/out", stat.S_IFLNK, b"/etc/hostname", "leads out"),
        ("top/birds/null", stat.S_IFCHR, b"", "device"),
        ("top/birds/pipe", stat.S_IFIFO, b"", "device"),
    ],
)
def test_a_hostile_zip_leaves_nothing_behind(
    tmp_path: Path,
    refuses: Callable[[Path, str], None],
    name: str,
    mode: int,
    content: bytes,
    words: str,
) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(archive, "a") as file:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (mode | 0o644) << 16
        file.writestr(info, content)
    refuses(archive, words)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, make: Callable[[Path, Mapping[str, bytes]], Path]
) -> None:
    archive = make(tmp_path / "a", {**FILES, "top/birds/zeros": bytes(3_000_000)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"claims to hold over 2 MB .*nothing was unpacked"):
        unpack(archive, tmp_path / "t", HOLDS, limit=2_000_000)
    assert everything(tmp_path) == {"a"}


def test_by_default_contents_are_at_most_a_hundred_times_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_GENEROUS", 1000)
    with pytest.raises(DataError, match="claims to hold over"):
        unpack(
            make_zip(tmp_path / "a.zip", {**FILES, "top/z": bytes(1_000_000)}),
            tmp_path / "t",
            HOLDS,
        )


def test_a_tar_that_claims_terabytes_is_refused_though_it_holds_nothing(tmp_path: Path) -> None:
    info = tarfile.TarInfo("top/birds/huge")
    info.size = 1 << 42
    (tmp_path / "a.tar").write_bytes(info.tobuf())
    with pytest.raises(DataError, match="claims to hold over"):
        unpack(tmp_path / "a.tar", tmp_path / "t", HOLDS)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    info = special("x", tarfile.XHDTYPE)
    info.size = 1 << 32
    (tmp_path / "a.tgz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 20)))
    with pytest.raises(DataError, match="header of 4,294,967,296 bytes"):
        unpack(tmp_path / "a.tgz", tmp_path / "t", HOLDS)


def test_a_zip_member_that_is_larger_than_it_claims_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {**FILES, "top/birds/z": b"z" * 5000})
    raw = archive.read_bytes()
    small = raw.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(small)
    with pytest.raises(DataError, match="damaged or cut off"):
        unpack(archive, tmp_path / "t", HOLDS)
    assert everything(tmp_path) == {"a.zip"}


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MOST_MEMBERS", 2)
    with pytest.raises(DataError, match="or 2 members"):
        unpack(make_zip(tmp_path / "a.zip", FILES), tmp_path / "t", HOLDS)


@pytest.mark.parametrize(
    "make", [make for k, make in enumerate(GOOD) if k != 2]
)  # a plain tar ends in much padding
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_an_archive_that_is_cut_off_is_told_so(
    tmp_path: Path, make: Callable[[Path], Path], share: float
) -> None:
    whole = make(tmp_path)
    whole.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(
        DataError, match=r"damaged or cut off.*remove it and give the same command again"
    ):
        unpack(whole, tmp_path / "t", HOLDS)
    assert everything(tmp_path) == {whole.name}


def test_a_tar_that_stops_between_two_members_is_cut_off(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", FILES, mode="w")
    archive.write_bytes(archive.read_bytes()[: 2 * 1024])
    with pytest.raises(DataError, match="no end mark"):
        unpack(archive, tmp_path / "t", HOLDS)


@pytest.mark.parametrize(
    "press", [gzip.compress, bz2.compress, lzma.compress, zlib.compress, bytes]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, press: Callable[[bytes], bytes]) -> None:
    (tmp_path / "a.zip").write_bytes(press(b"<!DOCTYPE html>" * 100))
    with pytest.raises(DataError, match=r"a\.zip"):
        unpack(tmp_path / "a.zip", tmp_path / "t", HOLDS)


def test_an_archive_of_something_else_names_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder that holds classes\.txt, birds\.txt"):
        unpack(make_zip(tmp_path / "a.zip", FILES), tmp_path / "t", ["classes.txt", "birds.txt"])


def test_without_room_nothing_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))  # type: ignore[attr-defined]
    with pytest.raises(
        CannotWrite, match=r"a\.zip needs 0\.0 kB and the disk of .* has 0\.0 kB free; make room"
    ):
        unpack(make_zip(tmp_path / "a.zip", FILES), tmp_path / "t", HOLDS)
    assert everything(tmp_path) == {"a.zip"}


def test_an_interruption_leaves_the_old_and_nothing_beside_it(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    (tmp_path / ".t.unpacking").mkdir()  # of one that was killed
    (tmp_path / ".t.unpacking" / "half").touch()

    def interrupt() -> None:
        assert tree(tmp_path / ".t.unpacking") == {
            "classes.txt": b"1 wren\n",
            "images/1/a.jpg": b"photo a",
        }
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "t", HOLDS, ready=interrupt)
    assert everything(tmp_path) == {"a.zip"}


@pytest.mark.parametrize("there", [True, False])
def test_to_another_disk_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """A folder may be a mount point, and a folder of some layered file systems cannot be
    renamed."""

    def rename(source: Path, to: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    archive = make_zip(tmp_path / "a.zip", FILES)
    if there:
        (tmp_path / "t").mkdir()
    monkeypatch.setattr(os, "rename", rename)
    assert unpack(archive, tmp_path / "t", HOLDS).added == len(tree(tmp_path / "t")) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "t"]


def test_a_disk_error_is_not_blamed_on_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *a: object, **k: object) -> object:
        if self.name == "a.jpg":
            raise OSError(28, "No space left on device", str(self))
        return real(self, *a, **k)  # type: ignore[arg-type]

    archive = make_zip(tmp_path / "a.zip", FILES)
    real = Path.open
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, tmp_path / "t", HOLDS)
    assert everything(tmp_path) == {"a.zip"}


def test_no_bits_of_the_archive_decide_who_may_run_a_file(tmp_path: Path) -> None:
    info = special("top/birds/tool", tarfile.REGTYPE)
    info.mode = 0o6777
    unpack(make_tar(tmp_path / "a.tgz", FILES, info), tmp_path / "t", HOLDS)
    assert os.stat(tmp_path / "t" / "tool").st_mode & 0o7111 == 0


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.integers(0, 3000), st.booleans())
def test_a_spoilt_archive_is_unpacked_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int, zipped: bool
) -> None:
    folder = tmp_path_factory.mktemp("spoilt")
    archive = make_zip(folder / "a", FILES) if zipped else make_tar(folder / "a", FILES, mode="w")
    raw = bytearray(archive.read_bytes())
    start = place % len(raw)
    raw[start : start + len(noise)] = noise[: len(raw) - start]
    archive.write_bytes(bytes(raw))
    try:
        unpack(archive, folder / "t", HOLDS)
    except DataError as error:
        assert str(archive) in str(error)
        assert everything(folder) == {"a"}
    else:
        assert {p.partition("/")[0] for p in everything(folder)} == {"a", "t"}
