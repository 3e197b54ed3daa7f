"""Downloads are checked, tried on several servers, and never cost what was there."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import threading
from pathlib import Path

import pytest
from bird_archive import BIRDS, MD5, SHA256, WHOLE, archive_of, asked, birds, everything
from fileserver import Site, serving

import zslkit.utils.progress
from zslkit.acquire.download import Records, addresses, fetch, look
from zslkit.acquire.fetch import Partial, Unreachable
from zslkit.acquire.unpack import Unpacked
from zslkit.errors import CannotWrite, DataError, UserError
from zslkit.utils.progress import PlainReporter

pytestmark = pytest.mark.usefixtures("quickly")


def test_an_archive_is_fetched_unpacked_and_recorded_once(site: Site, tmp_path: Path) -> None:
    (done,) = fetch([birds(site)], tmp_path)
    assert (done.before.state, done.url, done.unpacked) == (
        "missing",
        f"{site.url}/birds.zip",
        Unpacked(2, 0, ()),
    )
    assert everything(tmp_path) == WHOLE
    record = Records(tmp_path).read()["birds.zip"]
    assert (record.sha256, record.size, record.url, record.unpacked) == (
        SHA256,
        len(BIRDS),
        f"{site.url}/birds.zip",
        True,
    )
    (again,) = fetch([birds(site)], tmp_path)
    assert (again.before.state, again.url, again.unpacked) == ("unpacked", None, None)
    assert asked(site) == [""]


def test_an_archive_may_go_when_it_is_unpacked(site: Site, tmp_path: Path) -> None:
    fetch([birds(site)], tmp_path, keep_archives=False)
    assert everything(tmp_path) == WHOLE - {"downloads/birds.zip"}


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_server_without_the_file_is_passed_over_for_the_next(
    site: Site, other: Site, tmp_path: Path, status: int
) -> None:
    site.status = [status]
    (done,) = fetch([birds(site, other)], tmp_path)
    assert done.url == f"{other.url}/birds.zip"
    assert len(site.asked) == 1 and everything(tmp_path) == WHOLE


def test_a_server_that_is_overloaded_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.status = [503, 429]
    fetch([birds(site)], tmp_path)
    assert len(site.asked) == 3


def test_a_mirror_is_asked_first_and_the_makers_server_after_it(
    site: Site, other: Site, tmp_path: Path
) -> None:
    other.files = {"/zsl/birds.zip": BIRDS}
    assert (
        fetch([birds(site)], tmp_path / "a", [f"{other.url}/zsl/"])[0].url
        == f"{other.url}/zsl/birds.zip"
    )
    assert site.asked == []
    assert (
        fetch([birds(site)], tmp_path / "b", [f"{other.url}/nosuch"])[0].url
        == f"{site.url}/birds.zip"
    )
    with pytest.raises(
        UserError,
        match=r"'/mnt/zsl' is no http:// .* copy birds\.zip to downloads/ in the data root",
    ):
        addresses(birds(site), ["/mnt/zsl"])


@pytest.mark.parametrize("digest", [{"md5": MD5}, {"sha256": SHA256}])
def test_a_wrong_file_is_refused_and_the_next_server_asked(
    site: Site, other: Site, tmp_path: Path, digest: dict[str, str]
) -> None:
    wrong = archive_of({"classes.txt": b"wrong"})
    site.files["/birds.zip"] = wrong
    with pytest.raises(
        Unreachable,
        match=rf"its {next(iter(digest))} is {hashlib.new(next(iter(digest)), wrong).hexdigest()}, "
        r"and its maker had",
    ):
        fetch([birds(site, **digest)], tmp_path)
    assert not {"birds", "downloads/birds.zip"} & everything(tmp_path) and not Partial.all_of(
        tmp_path / "downloads/birds.zip"
    )
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
        Unreachable,
        match=r"and the first download, on \d{4}-\d\d-\d\d, had .*to accept the new file, remove "
        r"its entry from .*json",
    ):
        fetch([birds(site)], tmp_path)
    assert (
        not (tmp_path / "birds").exists() and Records(tmp_path).read()["birds.zip"].sha256 == SHA256
    )
    Records(tmp_path).path.unlink()
    fetch([birds(site)], tmp_path)
    assert (tmp_path / "birds/classes.txt").read_bytes() == b"finch"


def test_a_kept_archive_must_have_the_recorded_digest_too(site: Site, tmp_path: Path) -> None:
    fetch([birds(site)], tmp_path)
    shutil.rmtree(tmp_path / "birds")
    (done,) = fetch([birds(site)], tmp_path)
    assert done.before.state == "fetched" and done.url is None and len(site.asked) == 1
    shutil.rmtree(tmp_path / "birds")
    (tmp_path / "downloads/birds.zip").write_bytes(archive_of({"classes.txt": b"finch"}))
    with pytest.raises(DataError, match=r"birds\.zip is not the file that is known"):
        fetch([birds(site)], tmp_path)


def test_a_dead_link_names_the_file_and_its_place_and_takes_it_from_there(
    site: Site, tmp_path: Path
) -> None:
    site.files.clear()
    place = tmp_path / "downloads" / "birds.zip"
    with pytest.raises(Unreachable) as error:
        fetch([birds(site)], tmp_path)
    host = site.url.removeprefix("http://")
    assert str(error.value) == (
        f"birds.zip could not be fetched ({host}: 404 Not Found): fetch {site.url}/birds.zip by "
        "hand, "
        f"put it at {place} and give the same command again, which unpacks it"
    )
    place.write_bytes(BIRDS)
    (done,) = fetch([birds(site)], tmp_path)
    assert done.url is None and everything(tmp_path) == WHOLE
    assert Records(tmp_path).read()["birds.zip"].url == ""


def test_without_a_network_the_reason_is_short(tmp_path: Path) -> None:
    with serving(Site()) as gone:
        pass
    with pytest.raises(
        Unreachable, match=r"\(127\.0\.0\.1:\d+: [^()]*Connection refused\): fetch http"
    ):
        fetch([birds(gone)], tmp_path)


def test_one_archive_that_cannot_be_had_does_not_keep_the_others_back(
    site: Site, other: Site, tmp_path: Path
) -> None:
    lost = birds(other).model_copy(
        update={"file": "lost.zip", "urls": (f"{other.url}/lost.zip",), "folder": "lost"}
    )
    with pytest.raises(Unreachable, match=r"^lost\.zip could not be fetched"):
        fetch([lost, birds(site)], tmp_path)
    assert everything(tmp_path) == WHOLE


def test_a_slow_server_gets_progress_lines(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zslkit.utils.progress, "EVERY", 0.0)
    site.hold = threading.Event()

    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith(
                "birds.zip (MB): 0/1"
            ):  # told while the server still holds the other half back
                assert site.hold is not None
                site.hold.set()
            return super().write(text)

    stream = Watched()
    fetch([birds(site)], tmp_path, reporter=PlainReporter(stream))
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("birds.zip (MB)")]
    assert len(lines) >= 3 and lines[-1].startswith("birds.zip (MB): 1/1")


def test_a_damaged_archive_is_not_recorded(site: Site, tmp_path: Path) -> None:
    site.files["/birds.zip"] = BIRDS[:-40]
    with pytest.raises(DataError, match="damaged or cut off"):
        fetch([birds(site)], tmp_path)
    assert Records(tmp_path).read() == {}


def test_half_moved_files_are_not_taken_for_all(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "birds").mkdir()  # so that files are moved one by one
    real = shutil.os.rename

    def interrupt(source: Path, to: Path) -> None:
        if str(to).endswith("a.jpg"):
            raise KeyboardInterrupt
        real(source, to)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("zslkit.acquire.unpack.os.rename", interrupt)
        fetch([birds(site)], tmp_path)
    assert (tmp_path / "birds/classes.txt").exists() and look(
        birds(site), tmp_path
    ).state == "fetched"
    (done,) = fetch([birds(site)], tmp_path)
    assert done.unpacked == Unpacked(1, 1, ()) and everything(tmp_path) == WHOLE


def test_room_is_checked_before_the_first_byte(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = len(BIRDS) * 3 // 2 + (64 << 20)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, free)
    )  # type: ignore[attr-defined]
    with pytest.raises(
        CannotWrite, match=r"birds\.zip with its contents needs 60\d\.\d kB and the disk of"
    ):
        fetch([birds(site)], tmp_path)
    assert not Partial.all_of(tmp_path / "downloads/birds.zip")


def test_a_disk_that_fills_up_is_told_with_the_file(site: Site, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    part = Partial(tmp_path / "downloads" / "birds.zip", f"{site.url}/birds.zip")
    part.path.parent.mkdir()
    part.path.symlink_to("/dev/full")
    with pytest.raises(
        CannotWrite,
        match=r"\.part cannot be written \(No space left on device\); mend that and give the same "
        r"command",
    ):
        fetch([birds(site)], tmp_path)


def test_a_folder_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(
        UserError,
        match=r"The folder .*data/downloads cannot be written \(.*\); name another one with "
        r"--data-root",
    ):
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

    class Waiting(PlainReporter):
        def note(self, text: str) -> None:
            super().note(text)
            assert site.hold is not None
            site.hold.set()

    (done,) = fetch([birds(site)], tmp_path, reporter=Waiting(stream))
    first.join()
    assert "Another process downloads into" in stream.getvalue()
    assert done.before.state == "unpacked" and len(site.asked) == 1


@pytest.mark.parametrize("emptied", ["images", "classes.txt"])
def test_an_empty_folder_or_file_is_not_the_dataset(
    site: Site, tmp_path: Path, emptied: str
) -> None:
    (tmp_path / "birds/images/wren").mkdir(parents=True)
    (tmp_path / "birds/classes.txt").touch()
    download = birds(site, holds=[emptied])
    assert look(download, tmp_path).state == "missing"
    (done,) = fetch([download], tmp_path)
    assert done.unpacked is not None and (tmp_path / "birds/images/a.jpg").stat().st_size == 300_000
