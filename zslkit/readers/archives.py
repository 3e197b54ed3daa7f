"""Members of a zip or tar archive, checked before use; this module writes no file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol

from zslkit.errors import DataError
from zslkit.readers.faults import reading
from zslkit.utils.printable import reason_of

MOST_MEMBERS = 1_000_000
# tarfile reads a header's extensions in one piece, whatever length they claim.
_LONGEST_READ = 1 << 24
_LONGEST_TAIL = 1 << 26
_BLOCK = 512

_DAMAGE: tuple[type[Exception], ...] = (EOFError, OSError, OverflowError, RuntimeError, ValueError)
_DAMAGE += (struct.error, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Member:
    """One entry of an archive, with its cleaned path below the root of the archive.

    `size` is the claimed number of bytes, 0 for a member of a tar archive that is not a file;
    `link` the target of a link as written; `entry` that of `zipfile` or `tarfile`.
    """

    path: PurePosixPath
    kind: Literal["file", "folder", "symlink", "hardlink"]
    size: int
    link: str
    entry: Any


class Archive(Protocol):
    """An open archive.

    `members` raises DataError for a member that is encrypted, a device or a pipe, or whose name
    leads out of the root; `open` takes members of kind "file".
    """

    def members(self) -> Iterator[Member]: ...

    def open(self, member: Member) -> IO[bytes]: ...


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open the archive at `path`; its first bytes decide the format.

    Raises:
        DataError: Names the file that is missing, damaged, or neither zip nor tar.
    """
    kind = kind_of(path)
    if kind is None:
        raise DataError(f"{path} is no zip or tar archive; fetch it again")
    with ExitStack() as stack:
        with damage(path):  # ends before the yield: errors of the caller pass unchanged
            if kind == "zip":
                archive: Archive = _Zip(path, stack.enter_context(zipfile.ZipFile(path)))
            else:
                stream = stack.enter_context(_OPENERS[kind](path, "rb"))
                archive = _Tar(path, _LimitedStream(path, stream))
        yield archive


_OPENERS: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open, "tar": open}


def kind_of(path: Path) -> str | None:
    """ "zip", "gz", "bz2", "xz" or "tar" by the first bytes of a file; None for any other file."""
    with reading(path), path.open("rb") as stream:
        start = stream.read(_BLOCK)
    for magic, kind in (
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\x1f\x8b", "gz"),
        (b"BZh", "bz2"),
        (b"\xfd7zXZ\x00", "xz"),
    ):
        if start.startswith(magic):
            return kind
    return "tar" if start[257:262] == b"ustar" else None


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn any error that a damaged archive causes into one DataError."""
    try:
        yield
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, reason_of(error)) from error


def damaged(path: Path, reason: str) -> DataError:
    """Error for an archive that is not whole."""
    return DataError(
        f"The archive {path} is damaged or cut off ({reason}); remove it and give the same command "
        "again"
    )


def clean(path: Path, name: str) -> PurePosixPath:
    """Path of a member below the root of the archive; raises DataError if its name leads out."""
    parts = name.replace("\\", "/").split("/")
    if (
        name.startswith(("/", "\\"))
        or ".." in parts
        or "\0" in name
        or (parts[0][1:2] == ":" and parts[0][:1].isalpha())
    ):
        raise refused(path, name, "leads out of its folder")
    return PurePosixPath(*[part for part in parts if part not in ("", ".")])


def refused(path: Path, name: str, why: str) -> DataError:
    """Error for an archive with a dangerous member; `why` completes "its member NAME ..."."""
    return DataError(
        f"The archive {path} is not to be trusted: its member {name!r} {why}; nothing was "
        "unpacked, get it from its maker"
    )


class _Zip:
    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self._path, self._file = path, file

    def members(self) -> Iterator[Member]:
        for entry in self._file.infolist():
            mode = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == 3 else 0
            link = ""
            if entry.flag_bits & 1:
                raise DataError(f"The archive {self._path} is encrypted; get one that is not")
            if entry.is_dir() or stat.S_ISDIR(mode):
                kind: Literal["file", "folder", "symlink"] = "folder"
            elif stat.S_ISLNK(mode):
                kind = "symlink"
                with self._file.open(entry) as stream:
                    link = stream.read(4096).decode("utf-8", "surrogateescape")
            elif mode in (0, stat.S_IFREG):
                kind = "file"
            else:
                raise refused(self._path, entry.filename, "is a device or a pipe")
            yield Member(clean(self._path, entry.filename), kind, entry.file_size, link, entry)

    def open(self, member: Member) -> IO[bytes]:
        return self._file.open(member.entry)


class _Tar:
    def __init__(self, path: Path, stream: Any) -> None:
        self._path, self._stream = path, stream
        self._file = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 -- its stream is closed by `opened`

    def members(self) -> Iterator[Member]:
        for entry in self._file:
            if entry.isfile():
                kind: Literal["file", "folder", "symlink", "hardlink"] = "file"
            elif entry.isdir():
                kind = "folder"
            elif entry.issym():
                kind = "symlink"
            elif entry.islnk():
                kind = "hardlink"
            else:
                raise refused(self._path, entry.name, "is a device or a pipe")
            size = entry.size if kind == "file" else 0
            yield Member(clean(self._path, entry.name), kind, size, entry.linkname, entry)
        self._check_end()

    def _check_end(self) -> None:
        # tarfile does not notice that a file is cut off between two members.
        self._stream.seek(self._file.offset)
        if self._stream.read(_BLOCK) != bytes(_BLOCK):
            raise EOFError("it has no end mark")
        for _ in range(_LONGEST_TAIL >> 16):  # a compressed stream ends with its checksum
            if not self._stream.read(1 << 16):
                break

    def open(self, member: Member) -> IO[bytes]:
        stream = self._file.extractfile(member.entry)
        if stream is None:
            raise EOFError(f"{member.path} has no content")
        return stream


class _LimitedStream:
    """Stream that refuses to read more bytes at once than a header may need."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream = path, stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise DataError(
                f"The archive {self._path} is not to be trusted: it has a header of {size:,} "
                "bytes; get it from its maker"
            )
        return self._stream.read(size)
