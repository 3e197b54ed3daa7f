"""Download of datasets from their authors' servers or a mirror, into the layout of the papers."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from zslkit.acquire.fetch import Partial, Resuming, Unreachable
from zslkit.acquire.sources import Download
from zslkit.acquire.unpack import Unpacked, check_room, unpack
from zslkit.config import Config
from zslkit.errors import DataError, UserError
from zslkit.readers.archives import kind_of
from zslkit.utils.files import check_permitted, parse_json, read_small, write_text
from zslkit.utils.locks import acquired
from zslkit.utils.printable import reason_of
from zslkit.utils.progress import Reporter, Silent

ARCHIVES = "downloads"
"""Folder of the archives in a data root; also the place for archives fetched by hand."""


HOME = ".zslkit"
"""Folder of zslkit's own files in a data root."""


class Record(Config):
    """Record of an archive that was unpacked here."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")
    url: str = Field(description="where it was fetched; empty if it was put there by hand")
    date: str = Field(description="day of the first download, as 2026-01-31")
    unpacked: bool = Field(description="false while its files are moved into place")


class Records:
    """Records of one data root, by file name."""

    def __init__(self, root: Path) -> None:
        self.path = root / HOME / "downloads.json"

    def read(self) -> dict[str, Record]:
        """Read all records.

        Raises:
            DataError: Names the file that is damaged or cannot be read.
        """
        check_permitted(self.path)
        try:
            values = parse_json(read_small(self.path))
            return {str(name): Record.model_validate(entry) for name, entry in values.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, ValidationError) as error:
            raise DataError(
                f"{self.path} cannot be read ({reason_of(error, 200)}); remove it: the next "
                "download records the digests anew, without comparing them"
            ) from error

    def write(self, name: str, record: Record) -> None:
        """Add or replace one record; the file is replaced as a whole."""
        values = {
            key: entry.model_dump() for key, entry in sorted({**self.read(), name: record}.items())
        }
        write_text(self.path, json.dumps(values, indent=2) + "\n")


@dataclass(frozen=True)
class ArchiveState:
    """Progress of one archive."""

    download: Download
    archive: Path
    target: Path  # Folder of its contents
    # Progress; "begun" means that a part was fetched
    state: Literal["unpacked", "fetched", "begun", "missing"]
    held: int  # Bytes of the archive on disk


@dataclass(frozen=True)
class Done:
    """Result of one download."""

    before: ArchiveState  # State of the archive before the download
    url: str | None = None  # Address it was fetched from; None if it was not fetched now
    unpacked: Unpacked | None = None  # Result of unpacking; None if there was nothing to do


def look(download: Download, root: Path) -> ArchiveState:
    """State of a download below the data root; raises DataError if its records are damaged."""
    archive, target = root / ARCHIVES / download.file, root / download.folder
    record = Records(root).read().get(download.file)
    whole = record is None or record.unpacked
    if whole and all(_holds_files(target / path) for path in download.holds):
        return ArchiveState(download, archive, target, "unpacked", 0)
    if archive.is_file():
        return ArchiveState(download, archive, target, "fetched", archive.stat().st_size)
    if begun := [p.stat().st_size for p in Partial.all_of(archive)]:
        return ArchiveState(download, archive, target, "begun", max(begun))
    return ArchiveState(download, archive, target, "missing", 0)


def _holds_files(path: Path) -> bool:
    """Whether there is a non-empty file at, or any file below, `path`.

    An interrupted copy may leave empty folders, which do not count.
    """
    if path.is_file():
        return path.stat().st_size > 0
    return any(names for _, _, names in os.walk(path))


def addresses(download: Download, mirrors: Sequence[str] = ()) -> list[str]:
    """Addresses of an archive in order: `MIRROR/file` for each mirror, then its own.

    Raises:
        UserError: A mirror is not an http:// or https:// address.
    """
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise UserError(
                f"The mirror {mirror!r} is no http:// or https:// address; from a folder, copy "
                f"{download.file} to {ARCHIVES}/ in the data root"
            )
    return [f"{mirror.rstrip('/')}/{download.file}" for mirror in mirrors] + list(download.urls)


def fetch(
    downloads: Sequence[Download],
    root: Path,
    mirrors: Sequence[str] = (),
    reporter: Reporter | None = None,
    keep_archives: bool = True,
) -> list[Done]:
    """Fetch, verify and unpack the archives that are missing; existing files are never replaced.

    Mirrors have priority over the archives' own addresses. If a server fails, the remaining
    archives are still fetched.

    Raises:
        Unreachable: An archive could not be fetched; raised at the end.
        UserError: There is no room on the disk or no permission.
        DataError: An archive is damaged, dangerous, or its digest is not the known one.
    """
    reporter = Silent() if reporter is None else reporter
    for download in downloads:
        addresses(download, mirrors)
    done: list[Done] = []
    failures: list[Unreachable] = []
    with _exclusive(root, reporter):
        for download in downloads:
            try:
                done.append(_DownloadJob(download, root, mirrors, reporter, keep_archives).run())
            except Unreachable as error:
                failures.append(error)
    if failures:
        raise Unreachable(". ".join(map(str, failures))) from failures[0]
    return done


@contextmanager
def _exclusive(root: Path, reporter: Reporter) -> Iterator[None]:
    """Allow one process at a time to download into a data root; others wait."""
    for folder in (root / ARCHIVES, root / HOME):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"The folder {folder} cannot be written ({reason}); name another one with "
                "--data-root"
            ) from error
    sentence = f"Another process downloads into {root}; this one waits until it is done"
    with acquired(root / HOME / "downloads.lock", reporter.note, sentence, patience=0):
        yield


class _DownloadJob:
    """Download of one archive."""

    def __init__(
        self, download: Download, root: Path, mirrors: Sequence[str], reporter: Reporter, keep: bool
    ) -> None:
        self._download, self._mirrors = download, mirrors
        self._reporter, self._keep = reporter, keep
        self._records = Records(root)
        self._record = self._records.read().get(download.file)
        self._state = look(download, root)

    def run(self) -> Done:
        state, url = self._state, None
        if state.state == "unpacked":
            return Done(state)
        if state.state == "fetched":
            self._verify_archive()
        else:
            url = self._fetch()
        sha256 = self._digest("sha256")
        before, size = self._record, state.archive.stat().st_size
        date = datetime.now(UTC).date().isoformat()
        if before and before.sha256 == sha256:
            date = before.date
        known_url = url or (before.url if before else "")
        record = Record(sha256=sha256, size=size, url=known_url, date=date, unpacked=False)
        entry = self._download
        unpacked = unpack(
            *(state.archive, state.target, entry.holds, entry.only),
            reporter=self._reporter,
            ready=lambda: self._records.write(entry.file, record),
        )
        self._records.write(entry.file, record.model_copy(update={"unpacked": True}))
        if not self._keep:
            state.archive.unlink()
        return Done(state, url, unpacked)

    @property
    def _known(self) -> tuple[str, str, str] | None:
        """Algorithm and digest that the archive must have, and the source of the digest."""
        if self._download.sha256:
            return "sha256", self._download.sha256, "its maker"
        if self._download.md5:
            return "md5", self._download.md5, "its maker"
        if self._record is not None:
            return "sha256", self._record.sha256, f"the first download, on {self._record.date},"
        return None

    def _digest(self, algorithm: str, path: Path | None = None) -> str:
        path = path or self._state.archive
        with self._reporter.phase(f"{algorithm} of {path.name}"), path.open("rb") as stream:
            return hashlib.file_digest(stream, algorithm).hexdigest()

    def _verify_archive(self) -> None:
        """Verify an archive that was fetched before or by hand."""
        archive = self._state.archive
        if kind_of(archive) is None:
            raise DataError(
                f"{archive} is no zip or tar archive; remove it and give the same command again"
            )
        if self._known is not None and (found := self._digest(self._known[0])) != self._known[1]:
            raise DataError(
                f"{archive} is not the file that is known: {self._mismatch(found)}; remove it and "
                f"give the same command again{self._accept_advice()}"
            )

    def _mismatch(self, found: str) -> str:
        assert self._known is not None
        algorithm, digest, who = self._known
        return f"its {algorithm} is {found}, and {who} had {digest}"

    def _accept_advice(self) -> str:
        """Advice on how to accept a file with a new digest."""
        if self._download.sha256 or self._download.md5:
            return ""
        return f", or, to accept the new file, remove its entry from {self._records.path}"

    def _fetch(self) -> str:
        """Fetch the archive from the first address that works, and return that address."""
        archive = self._state.archive
        failures: list[str] = []
        changed = False
        for url in addresses(self._download, self._mirrors):
            try:
                part = Resuming(archive, self._reporter, self._check_room).fetch(url)
                known = self._known
                if known and (found := self._digest(known[0], part.path)) != known[1]:
                    part.drop()
                    raise _WrongDigest(self._mismatch(found))
                part.path.replace(archive)
                if kind_of(archive) is None:
                    archive.unlink()
                    Partial(archive, url).drop()
                    raise Unreachable("it sends something else, no zip or tar archive")
            except Unreachable as error:
                failures.append(f"{urlsplit(url).netloc}: {error}")
                changed = changed or isinstance(error, _WrongDigest)
                continue
            for place in addresses(self._download, self._mirrors):
                Partial(archive, place).drop()
            return url
        raise Unreachable(
            f"{self._download.file} could not be fetched ({'; '.join(failures)}): fetch "
            f"{self._download.urls[0]} by hand, put it at {archive} and give the same command "
            f"again, which unpacks it{self._accept_advice() if changed else ''}"
        )

    def _check_room(self, rest: int, total: int) -> None:
        # Photos hardly compress, so the contents are at least as large as the archive.
        check_room(
            self._state.archive.parent, rest + total, f"{self._download.file} with its contents"
        )


class _WrongDigest(Unreachable):
    """The server sent a file with another digest."""
