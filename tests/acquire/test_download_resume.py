"""Downloads go on where they broke off, and two halves of different files are never joined."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import pytest
from bird_archive import BIRDS, MD5, SHA256, WHOLE, archive_of, asked, birds, everything
from fileserver import Site

from zslkit.acquire import fetch as fetching
from zslkit.acquire.download import fetch, look
from zslkit.acquire.fetch import Partial, Unreachable
from zslkit.utils.progress import PlainReporter

pytestmark = pytest.mark.usefixtures("quickly")


def test_a_connection_that_breaks_goes_on_with_the_rest_only(site: Site, tmp_path: Path) -> None:
    site.breaks_at = [200_000, 50_000]
    stream = io.StringIO()
    fetch([birds(site, sha256=SHA256)], tmp_path, reporter=PlainReporter(stream))
    first, second, third = asked(site)
    assert first == "" and second.startswith("bytes=") and third.startswith("bytes=")
    got = [int(span[6:-1]) for span in (second, third)]
    assert 0 < got[0] <= 200_000 < got[1] <= 250_000
    assert (
        site.sent < len(BIRDS) + 2 * (1 << 16) + 1
    )  # what was in flight when it broke is fetched again
    assert "birds.zip: the connection broke off; trying again" in stream.getvalue()
    assert "birds.zip, the rest (MB): 1/1" in stream.getvalue()
    assert everything(tmp_path) == WHOLE


def test_an_interrupted_download_is_kept_and_the_same_command_goes_on(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.breaks_at = [200_000]
    stream = io.StringIO()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetching.time, "sleep", interrupt)
        fetch([birds(site)], tmp_path, reporter=PlainReporter(stream))
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

    def interrupt(*a: object, **k: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(hashlib, "file_digest", interrupt)
        fetch([birds(site, sha256=SHA256)], tmp_path)
    fetch([birds(site, sha256=SHA256)], tmp_path)
    assert len(site.asked) == 1
    assert everything(tmp_path) == WHOLE


def begin(site: Site, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first part of birds.zip in the data root."""
    site.breaks_at = [200_000]
    with monkeypatch.context() as patch, pytest.raises(Unreachable):
        patch.setattr(fetching, "TRIES", 0)
        fetch([birds(site)], root)
    assert look(birds(site), root).held > 100_000
    site.asked.clear()


def test_a_server_without_range_begins_anew(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(site, tmp_path, monkeypatch)
    site.ranges = False
    stream = io.StringIO()
    fetch([birds(site, md5=MD5)], tmp_path, reporter=PlainReporter(stream))
    assert "and begins anew" in stream.getvalue()
    assert everything(tmp_path) == WHOLE


def test_a_server_without_range_that_always_breaks_is_given_up(site: Site, tmp_path: Path) -> None:
    site.ranges, site.breaks_at = False, [150_000] * 50
    with pytest.raises(Unreachable, match=r"the connection broke off; .* are kept"):
        fetch([birds(site)], tmp_path)
    assert len(site.asked) == 1 + fetching.TRIES


def test_two_halves_of_different_files_are_never_joined(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(site, tmp_path, monkeypatch)
    changed = archive_of(
        {
            "wrapped/classes.txt": b"finch",
            "wrapped/images/a.jpg": random.Random(1).randbytes(299_999),
        }
    )
    assert len(changed) == len(BIRDS)
    site.files["/birds.zip"], site.etag = changed, '"two"'
    fetch([birds(site)], tmp_path)
    assert (tmp_path / "downloads/birds.zip").read_bytes() == changed
    assert asked(site)[1:] == [""]


def test_a_file_that_shrank_on_the_server_is_begun_anew(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(site, tmp_path, monkeypatch)
    site.files["/birds.zip"] = archive_of({"classes.txt": b"short"})
    fetch([birds(site)], tmp_path)
    assert (tmp_path / "birds/classes.txt").read_bytes() == b"short"


def test_without_any_word_on_its_identity_the_size_must_agree(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.etag = None
    begin(site, tmp_path, monkeypatch)
    site.files["/birds.zip"] = BIRDS + bytes(10)
    fetch([birds(site)], tmp_path)
    assert len(asked(site)) == 2 and asked(site)[1] == ""
