"""The bytes of a MATLAB file in order: as they lie there, or as a compressed variable unfolds. Never more than is asked for."""

from __future__ import annotations

import zlib
from typing import BinaryIO, Protocol


class Damaged(Exception):
    """Why this is no whole MATLAB file."""


class Bytes(Protocol):
    """What is read in order, from the file or out of its compressed part."""

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises Damaged if there are fewer."""
        ...

    def finish(self) -> None:
        """Raises Damaged if what was read does not end as it should."""
        ...


class PlainBytes:
    """The next `left` bytes of a file."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file, self._left = file, left

    def read(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self._left else b""
        if len(data) != count:
            raise Damaged("a variable is cut off")
        self._left -= count
        return data

    def finish(self) -> None:
        pass


class InflatedBytes:
    """What a zlib stream of `left` bytes unfolds to, no more of it in memory than is asked for."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file, self._left = file, left
        self._zlib = zlib.decompressobj()

    def read(self, count: int) -> bytes:
        parts, missing = [], count
        while missing:
            part = self._more(missing)
            if not part:
                raise Damaged("a compressed variable is cut off")
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _more(self, most: int) -> bytes:
        while not self._zlib.eof:
            waiting = self._zlib.unconsumed_tail
            if not waiting:
                waiting = self._file.read(min(1 << 16, self._left))
                self._left -= len(waiting)
            try:
                part = self._zlib.decompress(waiting, most)
            except zlib.error as error:
                raise Damaged(str(error)) from error
            if part or not waiting:
                return part
        return b""

    def finish(self) -> None:
        """Read on to the checksum at the end of the stream."""
        if self._more(64) and self._more(64):
            raise Damaged("a compressed variable holds more than it says")
        if not self._zlib.eof:
            raise Damaged("a compressed variable is cut off")
