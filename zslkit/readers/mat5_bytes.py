"""Sequential bytes of a MATLAB variable, plain or decompressed, read in bounded memory."""

from __future__ import annotations

import zlib
from typing import BinaryIO


class Damaged(Exception):
    """Why the file is not a whole MATLAB file."""


class Bytes:
    """The next `left` bytes of a file."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file, self._left = file, left

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes; raises Damaged if fewer are left."""
        data = self._file.read(count) if count <= self._left else b""
        if len(data) != count:
            raise Damaged("a variable is cut off")
        self._left -= count
        return data

    def finish(self) -> None:
        """Check that the data end here; a plain variable may hold more."""


class InflatedBytes(Bytes):
    """Decompressed bytes of a zlib stream of `left` bytes, decompressed as they are requested."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        super().__init__(file, left)
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
            packed = self._zlib.unconsumed_tail
            if not packed:
                packed = self._file.read(min(1 << 16, self._left))
                self._left -= len(packed)
            try:
                part = self._zlib.decompress(packed, most)
            except zlib.error as error:
                raise Damaged(str(error)) from error
            if part or not packed:
                return part
        return b""

    def finish(self) -> None:
        """Read on to the checksum at the end of the stream; raises Damaged if it is not there."""
        if self._more(64) and self._more(64):
            raise Damaged("a compressed variable holds more than it says")
        if not self._zlib.eof:
            raise Damaged("a compressed variable is cut off")
