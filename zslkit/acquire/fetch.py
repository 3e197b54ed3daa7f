"""A file over HTTP that goes on where it broke off."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Any

from zslkit.acquire.unpack import megabytes
from zslkit.errors import CannotWrite, UserError
from zslkit.utils.files import parse_json, read_small, replacing
from zslkit.utils.progress import Reporter

TIMEOUT = (20.0, 60.0)
"""Seconds to connect, and to wait for the next bytes."""
TRIES = 4
"""Attempts in a row that bring nothing new, after which a server is given up."""
PAUSE = 2.0
"""Seconds before the second attempt; each further one waits twice as long."""

_CHUNK = 1 << 16
_MEGABYTE = 1_000_000


class Unreachable(UserError):
    """A server that does not give the file, with the reason in few words."""


class _BrokenOff(Exception):
    """A transfer that may be taken up again."""


@dataclass(frozen=True)
class _Said:
    """What a server says of a file: the same twice means the same file. total: bytes, None if unknown."""

    total: int | None = None
    etag: str | None = None
    modified: str | None = None


class Partial:
    """What was fetched of one address so far, kept beside `archive` through interruptions."""

    def __init__(self, archive: Path, url: str) -> None:
        # The address is in the name: the halves of two mirrors may be of two files.
        self.path = archive.with_name(
            f"{archive.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"
        )
        self._note = self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def said(self) -> _Said:
        """What the server said of the whole file."""
        try:
            values = parse_json(read_small(self._note))
            return _Said(values["total"], values["etag"], values["modified"])
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ):  # then nothing can be built on, and the transfer begins anew
            return _Said()

    @property
    def whole(self) -> bool:
        return self.path.exists() and self.size == self.said.total

    def remember(self, said: _Said) -> None:
        with replacing(self._note) as beside:
            beside.write_text(json.dumps(asdict(said)), encoding="utf-8")

    def drop(self) -> None:
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)

    @staticmethod
    def all_of(archive: Path) -> list[Path]:
        """The partial files of all addresses, notes excluded."""
        pattern = re.compile(re.escape(archive.name) + r"\.[0-9a-f]{8}\.part")
        return (
            [p for p in sorted(archive.parent.glob("*.part")) if pattern.fullmatch(p.name)]
            if archive.parent.is_dir()
            else []
        )


class Resuming:
    """The downloader of one archive.

    check_room: called with the bytes still to come and those of the whole file, before the first of them; raises if the disk
    has no room.
    """

    def __init__(
        self, archive: Path, reporter: Reporter, check_room: Callable[[int, int], None]
    ) -> None:
        self._archive, self._reporter, self._check_room = archive, reporter, check_room

    def fetch(self, url: str) -> Partial:
        """The whole content of `url`, still under the name of a partial file.

        Raises Unreachable, and CannotWrite if the disk is full or the folder cannot be written.
        """
        part = Partial(self._archive, url)
        try:
            self._insist(url, part)
        except KeyboardInterrupt:
            self._reporter.note(
                f"{part.path} keeps {megabytes(part.size)}; the same command goes on from there"
            )
            raise
        return part

    def _insist(self, url: str, part: Partial) -> None:
        furthest, idle = part.size, 0
        while not part.whole:
            try:
                self._transfer(url, part)
                return
            except _BrokenOff as error:
                idle = 0 if part.size > furthest else idle + 1
                furthest = max(furthest, part.size)
                if idle >= TRIES:
                    raise Unreachable(f"{error}; {megabytes(part.size)} are kept") from error
                self._reporter.note(f"{self._archive.name}: {error}; trying again")
                time.sleep(PAUSE * 2**idle)

    def _transfer(self, url: str, part: Partial) -> None:
        import requests

        have = part.size
        headers = {"Accept-Encoding": "identity", "User-Agent": f"zslkit/{version('zslkit')}"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                self._receive(answer, part, have)
        except requests.RequestException as error:
            reason = _reason(error)
            # A server that was never reached is not worth waiting for; the next one may be there.
            raise (_BrokenOff(reason) if have else Unreachable(reason)) from error

    def _receive(self, answer: Any, part: Partial, have: int) -> None:
        status = f"{answer.status_code} {answer.reason}".strip()
        if answer.status_code == 416:  # there is no such rest: what we have is of another file
            part.drop()
            raise _BrokenOff("the server has another file now than the one that was begun")
        if answer.status_code in (408, 425, 429, 500, 502, 503, 504):
            raise _BrokenOff(status)
        if answer.status_code not in (200, 206):
            raise Unreachable(status)
        start, said = _meaning(answer)
        if answer.status_code == 206 and (start != have or not _same(said, part.said)):
            part.drop()
            raise _BrokenOff("the server has another file now than the one that was begun")
        if answer.status_code == 200 and have:
            self._reporter.note(
                f"{self._archive.name}: the server cannot go on at {megabytes(have)} and begins anew"
            )
            have = 0
        rest = None if said.total is None else said.total - have
        if rest is not None and said.total is not None:
            self._check_room(rest, said.total)
        with _writing(part.path):
            out = part.path.open(
                "ab" if have else "wb", buffering=0
            )  # closing it must have nothing left to write
        with out:
            with _writing(part.path):
                part.remember(said)
            self._pour(answer, out, part, have, rest)
        if rest is not None and part.size != said.total:
            raise _BrokenOff(f"the connection broke off at {megabytes(part.size)}")
        part.remember(_Said(part.size, said.etag, said.modified))

    def _pour(self, answer: Any, out: FileIO, part: Partial, have: int, rest: int | None) -> None:
        title = f"{self._archive.name}{', the rest' if have else ''} (MB)"
        done = told = 0
        with self._reporter.phase(
            title, None if rest is None else math.ceil(rest / _MEGABYTE)
        ) as phase:
            for piece in _pieces(answer, part):
                with _writing(part.path):
                    _write(out, piece)
                done += len(piece)
                now = math.ceil(done / _MEGABYTE) if done == rest else done // _MEGABYTE
                phase.advance(now - told)
                told = now


def _write(out: FileIO, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[out.write(left) :]


def _pieces(answer: Any, part: Partial) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    stream = answer.raw.stream(
        _CHUNK, decode_content=False
    )  # a server may call a .tgz "gzip encoded"; its bytes are what is wanted
    while True:
        try:
            piece = next(stream, b"")
        except (HTTPError, OSError) as error:
            raise _BrokenOff("the connection broke off") from error
        if not piece:
            return
        yield piece


def _meaning(answer: Any) -> tuple[int, _Said]:
    """First byte of the answer, and what it says of the whole file."""
    start, total = 0, answer.headers.get("Content-Length", "")
    if answer.status_code == 206:
        found = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        start, total = (int(found[1]), found[2]) if found else (-1, "")
    size = int(total) if total.isascii() and total.isdigit() else None
    return start, _Said(size, answer.headers.get("ETag"), answer.headers.get("Last-Modified"))


def _same(now: _Said, before: _Said) -> bool:
    known = [
        (a, b)
        for a, b in (
            (now.total, before.total),
            (now.etag, before.etag),
            (now.modified, before.modified),
        )
        if a and b
    ]
    return bool(known) and all(a == b for a, b in known)


def _reason(error: Exception) -> str:
    """The innermost of what requests says, without its class names."""
    inner = getattr(error.args[0] if error.args else error, "reason", error)
    text = " ".join(str(inner).split())
    return text.rpartition("): ")[2] or type(error).__name__


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"{path} cannot be written ({error.strerror or error}); mend that and give the same command again, which goes on"
        ) from error
