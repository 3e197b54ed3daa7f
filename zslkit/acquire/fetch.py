"""HTTP download that resumes after an interruption."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, dataclass
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Any

from zslkit.acquire.unpack import megabytes
from zslkit.errors import UserError
from zslkit.readers.faults import writing
from zslkit.utils.files import parse_json, read_small, write_text
from zslkit.utils.progress import Reporter

TIMEOUT = (20.0, 60.0)
"""Seconds to connect, and seconds to wait for the next bytes."""
TRIES = 4
"""Consecutive attempts without progress after which a server is given up."""
PAUSE = 2.0
"""Seconds before the second attempt; doubled for each further one."""

_CHUNK = 1 << 16
_MEGABYTE = 1_000_000


class Unreachable(UserError):
    """The server does not send the file; carries a short reason."""


class _Interrupted(Exception):
    """The transfer was interrupted and may be resumed."""


@dataclass(frozen=True)
class _FileFacts:
    """HTTP headers that identify a file of `total` bytes; equal headers mean the same file."""

    total: int | None = None
    etag: str | None = None
    modified: str | None = None


class Partial:
    """Part of `archive` fetched so far from one address, kept beside the archive."""

    def __init__(self, archive: Path, url: str) -> None:
        # The address is in the name: two mirrors may offer different files.
        self.path = archive.with_name(
            f"{archive.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"
        )
        self._note = self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def facts(self) -> _FileFacts:
        """Headers of the whole file, as the server sent them."""
        try:
            values = parse_json(read_small(self._note))
            return _FileFacts(values["total"], values["etag"], values["modified"])
        except (OSError, ValueError, KeyError, TypeError):  # the transfer starts again
            return _FileFacts()

    @property
    def whole(self) -> bool:
        """Whether all bytes of the file are on disk."""
        return self.path.exists() and self.size == self.facts.total

    def remember(self, facts: _FileFacts) -> None:
        """Store the headers beside the part."""
        write_text(self._note, json.dumps(asdict(facts)))

    def drop(self) -> None:
        """Delete the part and its headers."""
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)

    @staticmethod
    def all_of(archive: Path) -> list[Path]:
        """Parts of `archive` from all addresses."""
        pattern = re.compile(re.escape(archive.name) + r"\.[0-9a-f]{8}\.part")
        return [p for p in sorted(archive.parent.glob("*.part")) if pattern.fullmatch(p.name)]


class Resuming:
    """Downloader for one archive.

    `check_room` is called before the transfer with the bytes still to come and those of the whole
    file; it raises if the disk has no room.
    """

    def __init__(
        self, archive: Path, reporter: Reporter, check_room: Callable[[int, int], None]
    ) -> None:
        self._archive, self._reporter, self._check_room = archive, reporter, check_room

    def fetch(self, url: str) -> Partial:
        """Download `url` whole, and return it still under the name of a partial file.

        Raises:
            Unreachable: The server does not send the file.
            CannotWrite: The disk is full or the folder is not writable.
        """
        part = Partial(self._archive, url)
        try:
            self._retry(url, part)
        except KeyboardInterrupt:
            self._reporter.note(
                f"{part.path} keeps {megabytes(part.size)}; the same command goes on from there"
            )
            raise
        return part

    def _retry(self, url: str, part: Partial) -> None:
        """Repeat the transfer until it is complete or makes no more progress."""
        furthest, idle = part.size, 0
        while not part.whole:
            try:
                self._transfer(url, part)
                return
            except _Interrupted as error:
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
            # A server that was never reached is not retried; the next address may work.
            raise (_Interrupted(reason) if have else Unreachable(reason)) from error

    def _receive(self, answer: Any, part: Partial, have: int) -> None:
        status = f"{answer.status_code} {answer.reason}".strip()
        if answer.status_code in (408, 425, 429, 500, 502, 503, 504):
            raise _Interrupted(status)
        if answer.status_code not in (200, 206, 416):
            raise Unreachable(status)
        start, facts = _parse_headers(answer)
        goes_on = answer.status_code == 206 and start == have and _same(facts, part.facts)
        if answer.status_code != 200 and not goes_on:  # 416: there is no such range
            part.drop()
            raise _Interrupted("the server has another file now than the one that was begun")
        if answer.status_code == 200 and have:
            self._reporter.note(
                f"{self._archive.name}: the server cannot go on at {megabytes(have)} and begins "
                "anew"
            )
            have = 0
        rest = None if facts.total is None else facts.total - have
        if rest is not None and facts.total is not None:
            self._check_room(rest, facts.total)
        with _writing(part.path):
            # Unbuffered, so that closing the file cannot fail to write.
            out = part.path.open("ab" if have else "wb", buffering=0)
        with out:
            with _writing(part.path):
                part.remember(facts)
            self._save(answer, out, part, have, rest)
        if rest is not None and part.size != facts.total:
            raise _Interrupted(f"the connection broke off at {megabytes(part.size)}")
        part.remember(_FileFacts(part.size, facts.etag, facts.modified))

    def _save(self, answer: Any, out: FileIO, part: Partial, have: int, rest: int | None) -> None:
        title = f"{self._archive.name}{', the rest' if have else ''} (MB)"
        total = None if rest is None else math.ceil(rest / _MEGABYTE)
        done = reported = 0
        with self._reporter.phase(title, total) as phase:
            for piece in _pieces(answer):
                remaining = memoryview(piece)
                with _writing(part.path):
                    while remaining:
                        remaining = remaining[out.write(remaining) :]
                done += len(piece)
                now = math.ceil(done / _MEGABYTE) if done == rest else done // _MEGABYTE
                phase.advance(now - reported)
                reported = now


def _pieces(answer: Any) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    try:
        # Not decoded: a server may declare a .tgz as gzip encoded content.
        yield from answer.raw.stream(_CHUNK, decode_content=False)
    except (HTTPError, OSError) as error:
        raise _Interrupted("the connection broke off") from error


def _parse_headers(answer: Any) -> tuple[int, _FileFacts]:
    """First byte of the answer, and the headers of the whole file."""
    start, total = 0, answer.headers.get("Content-Length", "")
    if answer.status_code == 206:
        found = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        start, total = (int(found[1]), found[2]) if found else (-1, "")
    size = int(total) if total.isascii() and total.isdigit() else None
    return start, _FileFacts(size, answer.headers.get("ETag"), answer.headers.get("Last-Modified"))


def _same(now: _FileFacts, before: _FileFacts) -> bool:
    """Whether the headers known on both sides agree; False if there are none."""
    known = [(a, b) for a, b in zip(astuple(now), astuple(before), strict=True) if a and b]
    return bool(known) and all(a == b for a, b in known)


def _reason(error: Exception) -> str:
    """Innermost message of an error of requests, without class names."""
    inner = getattr(error.args[0] if error.args else error, "reason", error)
    text = " ".join(str(inner).split())
    return text.rpartition("): ")[2] or type(error).__name__


def _writing(path: Path) -> AbstractContextManager[None]:
    mend = "mend that and give the same command again, which goes on"
    return writing(f"{path} cannot be written", mend)
