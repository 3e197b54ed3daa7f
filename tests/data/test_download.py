"""Downloads go on where they broke off, are checked, tried on several servers, and never cost what was there."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fileserver import Site, serving

import zslkit.progress
from zslkit.data import fetch as fetching
from zslkit.data.download import addresses, fetch, look
from zslkit.data.fetch import Partial, Unreachable
from zslkit.data.records import Records
from zslkit.data.sources import Download, downloads_of, needed, read_downloads, shared
from zslkit.data.unpack import Unpacked
from zslkit.errors import CannotWrite, DataError, UnknownName, UserError
from zslkit.progress import Plain
from zslkit.registry import BrokenPlugin


def archive_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


BIRDS = archive_of({"wrapped/classes.txt": b"wren", "wrapped/images/a.jpg": random.Random(0).randbytes(300_000)})
SHA256 = hashlib.sha256(BIRDS).hexdigest()
MD5 = hashlib.md5(BIRDS).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site({"/birds.zip": BIRDS})) as served:
        yield served


@pytest.fixture
def other() -> Iterator[Site]:
    with serving(Site({"/birds.zip": BIRDS})) as served:
        yield served


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def birds(*sites: Site, **more: Any) -> Download:
    values = {"file": "birds.zip", "urls": [f"{s.url}/birds.zip" for s in sites], "folder": "birds", "holds": ["classes.txt"], **more}
    return read_downloads("birds", [values])[0]


def asked(site: Site) -> list[str]:
    return [span for _, span in site.asked]


def everything(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


WHOLE = {
    ".zslkit", ".zslkit/downloads.json", ".zslkit/downloads.lock", "downloads", "downloads/birds.zip",
    "birds", "birds/classes.txt", "birds/images", "birds/images/a.jpg",
}  # fmt: skip


def test_an_archive_is_fetched_unpacked_and_recorded_once(site: Site, tmp_path: Path) -> None:
    (done,) = fetch([birds(site)], tmp_path)
    assert (done.standing.state, done.url, done.unpacked) == ("missing", f"{site.url}/birds.zip", Unpacked(2, 0, ()))
    assert everything(tmp_path) == WHOLE
    record = Records(tmp_path).read()["birds.zip"]
    assert (record.sha256, record.size, record.url, record.unpacked) == (SHA256, len(BIRDS), f"{site.url}/birds.zip", True)
    (again,) = fetch([birds(site)], tmp_path)
    assert (again.standing.state, again.url, again.unpacked) == ("unpacked", None, None)
    assert asked(site) == [""]


def test_an_archive_may_go_when_it_is_unpacked(site: Site, tmp_path: Path) -> None:
    fetch([birds(site)], tmp_path, keep_archives=False)
    assert everything(tmp_path) == WHOLE - {"downloads/birds.zip"}


def test_a_connection_that_breaks_goes_on_with_the_rest_only(site: Site, tmp_path: Path) -> None:
    site.breaks_at = [200_000, 50_000]
    stream = io.StringIO()
    fetch([birds(site, sha256=SHA256)], tmp_path, reporter=Plain(stream))
    first, second, third = asked(site)
    assert first == "" and second.startswith("bytes=") and third.startswith("bytes=")
    got = [int(span[6:-1]) for span in (second, third)]
    assert 0 < got[0] <= 200_000 < got[1] <= 250_000
    assert site.sent < len(BIRDS) + 2 * (1 << 16) + 1  # what was in flight when it broke is fetched again
    assert "birds.zip: the connection broke off; trying again" in stream.getvalue()
    assert "birds.zip, the rest (MB): 1/1" in stream.getvalue()
    assert everything(tmp_path) == WHOLE


def test_an_interrupted_download_is_kept_and_the_same_command_goes_on(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.breaks_at = [200_000]
    stream = io.StringIO()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetching.time, "sleep", interrupt)
        fetch([birds(site)], tmp_path, reporter=Plain(stream))
    part = Partial(tmp_path / "downloads" / "birds.zip", f"{site.url}/birds.zip")
    kept = part.size
    assert 100_000 < kept <= 200_000
    assert f"{part.path} keeps" in stream.getvalue()
    assert look(birds(site), tmp_path).state == "begun" and look(birds(site), tmp_path).held == kept
    fetch([birds(site)], tmp_path)
    assert asked(site) == ["", f"bytes={kept}-"]
    assert everything(tmp_path) == WHOLE


def test_a_whole_download_whose_check_was_interrupted_is_not_fetched_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch.core

    def interrupt(*a: object, **k: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pooch.core, "hash_matches", interrupt)
        fetch([birds(site, sha256=SHA256)], tmp_path)
    fetch([birds(site, sha256=SHA256)], tmp_path)
    assert len(site.asked) == 1
    assert everything(tmp_path) == WHOLE


def test_a_file_system_without_links_will_do(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(fetching.os, "link", refuse)
    with pytest.raises(Unreachable, match="its sha256 is another, and its maker had"):
        fetch([birds(site, sha256="0" * 64)], tmp_path)
    fetch([birds(site, sha256=SHA256)], tmp_path)
    assert everything(tmp_path) == WHOLE


def begin(site: Site, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first part of birds.zip in the data root."""
    site.breaks_at = [200_000]
    with monkeypatch.context() as patch, pytest.raises(Unreachable):
        patch.setattr(fetching, "TRIES", 0)
        fetch([birds(site)], root)
    assert look(birds(site), root).held > 100_000
    site.asked.clear()


def test_a_server_without_range_begins_anew(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(site, tmp_path, monkeypatch)
    site.ranges = False
    stream = io.StringIO()
    fetch([birds(site, md5=MD5)], tmp_path, reporter=Plain(stream))
    assert "and begins anew" in stream.getvalue()
    assert everything(tmp_path) == WHOLE


def test_a_server_without_range_that_always_breaks_is_given_up(site: Site, tmp_path: Path) -> None:
    site.ranges, site.breaks_at = False, [150_000] * 50
    with pytest.raises(Unreachable, match=r"the connection broke off; .* are kept"):
        fetch([birds(site)], tmp_path)
    assert len(site.asked) == 1 + fetching.TRIES


def test_two_halves_of_different_files_are_never_joined(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(site, tmp_path, monkeypatch)
    changed = archive_of({"wrapped/classes.txt": b"finch", "wrapped/images/a.jpg": random.Random(1).randbytes(299_999)})
    assert len(changed) == len(BIRDS)
    site.files["/birds.zip"], site.etag = changed, '"two"'
    fetch([birds(site)], tmp_path)
    assert (tmp_path / "downloads/birds.zip").read_bytes() == changed
    assert asked(site)[1:] == [""]


def test_a_file_that_shrank_on_the_server_is_begun_anew(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(site, tmp_path, monkeypatch)
    site.files["/birds.zip"] = archive_of({"classes.txt": b"short"})
    fetch([birds(site)], tmp_path)
    assert (tmp_path / "birds/classes.txt").read_bytes() == b"short"


def test_without_any_word_on_its_identity_the_size_must_agree(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.etag = None
    begin(site, tmp_path, monkeypatch)
    site.files["/birds.zip"] = BIRDS + bytes(10)
    fetch([birds(site)], tmp_path)
    assert len(asked(site)) == 2 and asked(site)[1] == ""


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_server_without_the_file_is_passed_over_for_the_next(site: Site, other: Site, tmp_path: Path, status: int) -> None:
    site.status = [status]
    (done,) = fetch([birds(site, other)], tmp_path)
    assert done.url == f"{other.url}/birds.zip"
    assert len(site.asked) == 1 and everything(tmp_path) == WHOLE


def test_a_server_that_is_overloaded_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.status = [503, 429]
    fetch([birds(site)], tmp_path)
    assert len(site.asked) == 3


def test_a_mirror_is_asked_first_and_the_makers_server_after_it(site: Site, other: Site, tmp_path: Path) -> None:
    other.files = {"/zsl/birds.zip": BIRDS}
    assert fetch([birds(site)], tmp_path / "a", [f"{other.url}/zsl/"])[0].url == f"{other.url}/zsl/birds.zip"
    assert site.asked == []
    assert fetch([birds(site)], tmp_path / "b", [f"{other.url}/nosuch"])[0].url == f"{site.url}/birds.zip"
    with pytest.raises(UserError, match=r"'/mnt/zsl' is no http:// .* copy birds\.zip to downloads/ in the data root"):
        addresses(birds(site), ["/mnt/zsl"])


@pytest.mark.parametrize("digest", [{"md5": MD5}, {"sha256": SHA256}])
def test_a_wrong_file_is_refused_and_the_next_server_asked(site: Site, other: Site, tmp_path: Path, digest: dict[str, str]) -> None:
    wrong = archive_of({"classes.txt": b"wrong"})
    site.files["/birds.zip"] = wrong
    with pytest.raises(
        Unreachable, match=rf"its {next(iter(digest))} is {hashlib.new(next(iter(digest)), wrong).hexdigest()}, and its maker had"
    ):
        fetch([birds(site, **digest)], tmp_path)
    assert not {"birds", "downloads/birds.zip"} & everything(tmp_path) and not Partial.all_of(tmp_path / "downloads/birds.zip")
    assert fetch([birds(site, other, **digest)], tmp_path)[0].url == f"{other.url}/birds.zip"
    assert everything(tmp_path) == WHOLE


def test_a_page_in_place_of_the_archive_is_not_recorded(site: Site, tmp_path: Path) -> None:
    site.files["/birds.zip"] = b"<!DOCTYPE html><title>moved</title>"
    with pytest.raises(Unreachable, match="it sends something else, no zip or tar archive"):
        fetch([birds(site)], tmp_path)
    assert everything(tmp_path) == {".zslkit", ".zslkit/downloads.lock", "downloads"}


def test_a_second_download_must_have_the_recorded_digest(site: Site, tmp_path: Path) -> None:
    fetch([birds(site)], tmp_path)
    shutil.rmtree(tmp_path / "birds")
    (tmp_path / "downloads/birds.zip").unlink()
    changed = archive_of({"wrapped/classes.txt": b"finch"})
    site.files["/birds.zip"], site.etag = changed, '"two"'
    with pytest.raises(
        Unreachable, match=r"and the first download, on \d{4}-\d\d-\d\d, had .*to accept the new file, remove its entry from .*json"
    ):
        fetch([birds(site)], tmp_path)
    assert not (tmp_path / "birds").exists() and Records(tmp_path).read()["birds.zip"].sha256 == SHA256
    Records(tmp_path).path.unlink()
    fetch([birds(site)], tmp_path)
    assert (tmp_path / "birds/classes.txt").read_bytes() == b"finch"


def test_a_kept_archive_must_have_the_recorded_digest_too(site: Site, tmp_path: Path) -> None:
    fetch([birds(site)], tmp_path)
    shutil.rmtree(tmp_path / "birds")
    (done,) = fetch([birds(site)], tmp_path)
    assert done.standing.state == "fetched" and done.url is None and len(site.asked) == 1
    shutil.rmtree(tmp_path / "birds")
    (tmp_path / "downloads/birds.zip").write_bytes(archive_of({"classes.txt": b"finch"}))
    with pytest.raises(DataError, match=r"birds\.zip is not the file that is known"):
        fetch([birds(site)], tmp_path)


def test_a_dead_link_names_the_file_and_its_place_and_takes_it_from_there(site: Site, tmp_path: Path) -> None:
    site.files.clear()
    place = tmp_path / "downloads" / "birds.zip"
    with pytest.raises(Unreachable) as error:
        fetch([birds(site)], tmp_path)
    host = site.url.removeprefix("http://")
    assert str(error.value) == (
        f"birds.zip could not be fetched ({host}: 404 Not Found): fetch {site.url}/birds.zip by hand, "
        f"put it at {place} and give the same command again, which unpacks it"
    )
    place.write_bytes(BIRDS)
    (done,) = fetch([birds(site)], tmp_path)
    assert done.url is None and everything(tmp_path) == WHOLE
    assert Records(tmp_path).read()["birds.zip"].url == ""


def test_without_a_network_the_reason_is_short(tmp_path: Path) -> None:
    with serving(Site()) as gone:
        pass
    with pytest.raises(Unreachable, match=r"\(127\.0\.0\.1:\d+: [^()]*Connection refused\): fetch http"):
        fetch([birds(gone)], tmp_path)


def test_one_archive_that_cannot_be_had_does_not_keep_the_others_back(site: Site, other: Site, tmp_path: Path) -> None:
    lost = birds(other).model_copy(update={"file": "lost.zip", "urls": (f"{other.url}/lost.zip",), "folder": "lost"})
    with pytest.raises(Unreachable, match=r"^lost\.zip could not be fetched"):
        fetch([lost, birds(site)], tmp_path)
    assert everything(tmp_path) == WHOLE


def test_a_slow_server_gets_progress_lines(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zslkit.progress, "EVERY", 0.0)
    site.hold = threading.Event()

    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("birds.zip (MB): 0/1"):  # told while the server still holds the other half back
                assert site.hold is not None
                site.hold.set()
            return super().write(text)

    stream = Watched()
    fetch([birds(site)], tmp_path, reporter=Plain(stream))
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("birds.zip (MB)")]
    assert len(lines) >= 3 and lines[-1].startswith("birds.zip (MB): 1/1")


def test_a_damaged_archive_is_not_recorded(site: Site, tmp_path: Path) -> None:
    site.files["/birds.zip"] = BIRDS[:-40]
    with pytest.raises(DataError, match="damaged or cut off"):
        fetch([birds(site)], tmp_path)
    assert Records(tmp_path).read() == {}


def test_half_moved_files_are_not_taken_for_all(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "birds").mkdir()  # so that files are moved one by one
    real = shutil.os.rename

    def interrupt(source: Path, to: Path) -> None:
        if str(to).endswith("a.jpg"):
            raise KeyboardInterrupt
        real(source, to)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("zslkit.data.unpack.os.rename", interrupt)
        fetch([birds(site)], tmp_path)
    assert (tmp_path / "birds/classes.txt").exists() and look(birds(site), tmp_path).state == "fetched"
    (done,) = fetch([birds(site)], tmp_path)
    assert done.unpacked == Unpacked(1, 1, ()) and everything(tmp_path) == WHOLE


def test_room_is_checked_before_the_first_byte(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = len(BIRDS) * 3 // 2 + (64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, free))  # type: ignore[attr-defined]
    with pytest.raises(CannotWrite, match=r"birds\.zip with its contents needs 60\d\.\d kB and the disk of"):
        fetch([birds(site)], tmp_path)
    assert not Partial.all_of(tmp_path / "downloads/birds.zip")


def test_a_disk_that_fills_up_is_told_with_the_file(site: Site, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    part = Partial(tmp_path / "downloads" / "birds.zip", f"{site.url}/birds.zip")
    part.path.parent.mkdir()
    part.path.symlink_to("/dev/full")
    with pytest.raises(CannotWrite, match=r"\.part cannot be written \(No space left on device\); mend that and give the same command"):
        fetch([birds(site)], tmp_path)


def test_a_folder_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match=r"The folder .*data/downloads cannot be written \(.*\); name another one with --data-root"):
        fetch([birds(site)], tmp_path / "data")
    assert site.asked == []


def test_damaged_records_are_named(site: Site, tmp_path: Path) -> None:
    fetch([birds(site)], tmp_path)
    for text in ("{", "[]", '{"birds.zip": 1}', json.dumps({"birds.zip": {"sha256": "x"}})):
        Records(tmp_path).path.write_text(text)
        with pytest.raises(DataError, match=r"downloads\.json cannot be read .*remove it"):
            look(birds(site), tmp_path)


def test_looking_touches_nothing(site: Site, tmp_path: Path) -> None:
    assert look(birds(site), tmp_path / "data").state == "missing"
    assert everything(tmp_path) == set() and site.asked == []


def test_two_processes_wait_for_each_other(site: Site, tmp_path: Path) -> None:
    site.hold = threading.Event()
    stream = io.StringIO()
    first = threading.Thread(target=fetch, args=([birds(site)], tmp_path))
    first.start()
    while not site.asked:
        first.join(0.01)

    class Waiting(Plain):
        def note(self, text: str) -> None:
            super().note(text)
            assert site.hold is not None
            site.hold.set()

    (done,) = fetch([birds(site)], tmp_path, reporter=Waiting(stream))
    first.join()
    assert "Another process downloads into" in stream.getvalue()
    assert done.standing.state == "unpacked" and len(site.asked) == 1


def test_a_name_stands_for_all_that_it_needs() -> None:
    files = {name: [d.file for d in needed([name])] for name in ("cub", "sun", "awa2", "awa1", "apy", "flo", "xlsa17")}
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
    assert [d.file for d in both] == ["SUNAttributeDB_Images.tar.gz", "xlsa17.zip", "CUB_200_2011.tgz"]
    assert set(both[1].holds) == {f"{d}/{f}.mat" for d in ("SUN", "CUB") for f in ("att_splits", "res101")}


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


def test_a_plugin_with_a_bad_declaration_is_named_as_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from zslkit.data.xlsa17 import CUB

    monkeypatch.setattr(CUB, "downloads", [OWN | {"holds": 3}])
    with pytest.raises(BrokenPlugin, match="holds = 3"):
        downloads_of("cub")


def test_two_archives_of_one_name_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from zslkit.data.xlsa17 import CUB, SUN

    monkeypatch.setattr(CUB, "downloads", [OWN])
    monkeypatch.setattr(SUN, "downloads", [{**OWN, "folder": "c"}])
    with pytest.raises(UserError, match=r"sun: another dataset has an archive b\.zip too"):
        needed(["cub", "sun"])


def test_shared_archives_go_where_the_datasets_read_them() -> None:
    from zslkit.data import xlsa17

    for source in (xlsa17.CUB, xlsa17.SUN, xlsa17.AWA2):
        photos = read_downloads("x", source.downloads)[0]
        assert source.photos.startswith(photos.folder)
        assert all(f"{photos.folder}/{path}".startswith(source.photos) for path in photos.holds)
    for source in (xlsa17.CUB, xlsa17.SUN, xlsa17.AWA2, xlsa17.AWA1, xlsa17.APY, xlsa17.FLO):
        splits = read_downloads("x", source.downloads)[-1]
        assert {f"{splits.folder}/{p}" for p in splits.holds} == {f"xlsa17/data/{source.folder}/{f}.mat" for f in ("att_splits", "res101")}
    assert len({d.file for d in shared().values()}) == len(shared())
