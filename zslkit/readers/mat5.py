"""Reader of MATLAB files of version 5 to 7 that is safe for damaged files and streams large tables.

Format: MathWorks, "MAT-File Format", chapter 1. A header of 128 bytes, then elements of a tag
(type, size) and data; a variable is an element of type miMATRIX, or of type miCOMPRESSED that
contains one. General readers follow damaged tags out of their memory and crash, and hold a table of
features twice in memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.readers.faults import reading
from zslkit.readers.mat5_bytes import Bytes, Damaged, InflatedBytes
from zslkit.readers.stream import SMALL, Stream, refuse_bomb, rows_per_block

_MATRIX, _COMPRESSED, _FLAGS, _DIMS, _NAME = 14, 15, 6, 5, 1
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CELL, _STRUCT, _CHAR, _SPARSE, _NUMERIC, _OPAQUE = 1, 2, 4, 5, range(6, 16), 17
_COMPLEX = 0
"""Class given here to complex numbers, so that they do not count as numeric."""
_DEEPEST = 4
"""Nested cells around one text; some files wrap a text once or twice."""
_LONGEST_TEXT = 1 << 16


@dataclass(frozen=True)
class _Variable:
    offset: int
    size: int
    compressed: bool
    kind: int
    shape: tuple[int, ...]


_AS_NUMBERS = {
    _CELL: ("a cell array", "cell2mat({})"),
    _STRUCT: ("a struct", "its field with the numbers"),
    _CHAR: ("text", "double({})"),
    _SPARSE: ("a sparse matrix", "full({})"),
    _COMPLEX: ("complex", "real({})"),
    _OPAQUE: ("a MATLAB object", "double({})"),
}
_AS_TEXTS = {
    _CELL: ("a cell array", "cellstr({})"),
    _STRUCT: ("a struct", "its field with the texts"),
    _OPAQUE: ("a MATLAB object such as a string array", "cellstr({})"),
}
"""Class of a variable -> its description, and the MATLAB expression to save instead."""


class MatFile:
    """Variables of a file by name, read on request, so that unused ones may be of any class.

    `again` is the advice that ends every error about a damaged file.

    Raises:
        DataError: Names the file that is not a whole MATLAB file of version 5 to 7.
    """

    def __init__(self, path: Path, again: str = "save it again with -v7") -> None:
        self.path, self.again = path, again
        self._order = "<"
        with self._guarded():
            self.variables: dict[str, _Variable] = self._index()

    def __contains__(self, name: str) -> bool:
        return name in self.variables

    def is_numeric(self, name: str) -> bool:
        """Whether the variable is an array of real numbers."""
        return self.variables[name].kind in _NUMERIC

    def holds_texts(self, name: str) -> bool:
        """Whether the variable is a cell array or a character matrix, as lists of texts are."""
        return self.variables[name].kind in (_CELL, _CHAR)

    def columns(self, name: str) -> Stream:
        """Stream a table of numbers (A, N) as (N, A): its columns are contiguous in the file.

        Raises:
            DataError: The variable is not a table of real numbers, or claims far more bytes than
                are stored.
        """
        variable = self.variables[name]
        if variable.kind not in _NUMERIC:
            raise self._wrong_class(name, "no table of numbers", _AS_NUMBERS)
        if len(variable.shape) != 2:
            raise DataError(
                f"{self.path}: {name} is no table of numbers, for it has {len(variable.shape)} "
                "axes; save it with two"
            )
        width, count = variable.shape
        with self._reading(variable) as source:
            dtype, _ = self._numbers_head(source)
        refuse_bomb(self.path, name, math.prod(variable.shape) * dtype.itemsize, variable.size)
        return Stream(
            (count, width), dtype.newbyteorder("="), lambda: self._blocks(variable, count, width)
        )

    def table(self, name: str) -> NDArray[Any]:
        """Read a table of numbers in the shape that MATLAB shows.

        Raises:
            DataError: The variable is not a table of real numbers, or is too large for labels or
                attributes.
        """
        stream = self.columns(name)
        self._refuse_large(name, stream.nbytes, "what it should be")
        return stream.whole().T

    def texts(self, name: str) -> list[str]:
        """Read the texts of a cell array, or the rows of a character matrix, without outer blanks.

        Raises:
            DataError: Names the variable that is not a list of texts.
        """
        variable = self.variables[name]
        size = math.prod(variable.shape)
        if variable.kind == _CHAR and len(variable.shape) == 2:
            self._refuse_large(name, size, "names")
            refuse_bomb(self.path, name, size, variable.size)
            with self._reading(variable) as source:
                return self._rows_of_text(source, name)
        if variable.kind != _CELL:
            raise self._wrong_class(name, "no list of texts", _AS_TEXTS)
        refuse_bomb(self.path, name, 8 * size, variable.size)
        with self._reading(variable) as source:
            self._head(source)
            found = [self._text(source, name, i, 0) for i in range(size)]
            source.finish()
        return found

    def _refuse_large(self, name: str, nbytes: int, what: str) -> None:
        if nbytes > SMALL:
            raise DataError(
                f"{self.path}: {name} takes {nbytes / 1e6:,.0f} MB, too much for {what}; is it "
                "another variable?"
            )

    def _wrong_class(
        self, name: str, lacks: str, kinds: Mapping[int, tuple[str, str]]
    ) -> DataError:
        """Error for a variable of the wrong class; `kinds` is _AS_NUMBERS or _AS_TEXTS."""
        what, instead = kinds.get(self.variables[name].kind, ("of another kind", "it as one"))
        return DataError(
            f"{self.path}: {name} is {what} and {lacks}; save {instead.format(name)} there"
        )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn errors of the block into DataError."""
        try:
            with reading(self.path):
                yield
        except Damaged as error:
            raise DataError(
                f"{self.path} is no whole MATLAB file ({error}); {self.again}"
            ) from error

    @contextmanager
    def _reading(self, variable: _Variable) -> Iterator[Bytes]:
        with self._guarded(), self.path.open("rb") as file:
            yield _bytes(file, variable.offset, variable.size, variable.compressed)

    def _index(self) -> dict[str, _Variable]:
        found: dict[str, _Variable] = {}
        length = self.path.stat().st_size
        with self.path.open("rb") as file:
            self._order = self._file_header(file.read(128))
            position = 128
            while position < length:
                tag = _bytes(file, position, length - position, False).read(8)
                kind, size = struct.unpack(self._order + "II", tag)
                start = position + 8
                if kind not in (_MATRIX, _COMPRESSED):
                    raise Damaged(f"there is a tag {kind} where a variable should be")
                if size > length - start:
                    raise Damaged("a variable is cut off")
                if size:
                    # Plain data include their tag, as the data of a compressed variable do.
                    plain = kind == _MATRIX
                    span = (position, size + 8, False) if plain else (start, size, True)
                    name, matrix_kind, shape = self._head(_bytes(file, *span))
                    if name in found and name:  # MATLAB stores parts of objects without a name
                        raise Damaged(f"the variable {name!r} stands twice")
                    found[name] = _Variable(*span, matrix_kind, shape)
                position = start + size
        return found

    def _file_header(self, header: bytes) -> str:
        """Byte order of the file, as `struct` writes it."""
        if header[:8] == b"\x89HDF\r\n\x1a\n" or header[124:128] in (b"\x00\x02IM", b"\x02\x00MI"):
            raise DataError(f"{self.path} is a MATLAB file of version 7.3; save it with -v7")
        if _is_version_4(header):
            raise DataError(f"{self.path} is a MATLAB file of version 4; save it with -v7")
        order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(header[124:128])
        if order is None:
            raise Damaged("its header is not that of version 5 to 7")
        return order

    def _tag(self, source: Bytes) -> tuple[int, int, bytes | None]:
        """Type and size of an element, and its data if they are packed into the tag."""
        head = source.read(8)
        (word,) = struct.unpack(self._order + "I", head[:4])
        if word >> 16:
            if word >> 16 > 4:
                raise Damaged("a short element claims more than four bytes")
            return word & 0xFFFF, word >> 16, head[4 : 4 + (word >> 16)]
        return word, struct.unpack(self._order + "I", head[4:])[0], None

    def _small(self, source: Bytes, wanted: int, most: int) -> bytes:
        """Data of an element of type `wanted` and at most `most` bytes."""
        kind, size, data = self._tag(source)
        if kind != wanted or size > most:
            raise Damaged(
                f"there is an element of type {kind} and {size} bytes where one of type {wanted} "
                "should be"
            )
        return _padded(source, size) if data is None else data

    def _head(self, source: Bytes) -> tuple[str, int, tuple[int, ...]]:
        """Name, class and shape of a variable.

        An empty variable has no head and counts as numeric. Objects of MATLAB (string, datetime,
        table) and classes later than version 7 have no shape, and their content is not read.
        """
        kind, size, _ = self._tag(source)
        if kind != _MATRIX:
            raise Damaged(f"there is a tag {kind} where a variable should be")
        if not size:
            return "", 6, (0, 0)
        flags = self._small(source, _FLAGS, 8)
        if len(flags) != 8:
            raise Damaged("the head of a variable is broken")
        (word,) = struct.unpack(self._order + "I", flags[:4])
        kind = word & 0xFF
        if kind == _OPAQUE:
            return self._small(source, _NAME, 4096).decode("latin-1"), _OPAQUE, ()
        if not _CELL <= kind < _OPAQUE:
            return "", _OPAQUE, ()
        dims = self._small(source, _DIMS, 4 * 32)
        name = self._small(source, _NAME, 4096)
        if len(dims) < 8 or len(dims) % 4:
            raise Damaged("the head of a variable is broken")
        shape = struct.unpack(f"{self._order}{len(dims) // 4}i", dims)
        if min(shape) < 0:
            raise Damaged("a variable has a negative size")
        kind = _COMPLEX if word & 0x800 and kind in _NUMERIC else kind
        return name.decode("latin-1"), kind, shape

    def _numbers_head(self, source: Bytes) -> tuple[np.dtype[Any], bytes | None]:
        """Type in which the numbers are stored, and their bytes if they are packed into the tag.

        MATLAB stores whole numbers in the smallest type that holds them.
        """
        _, _, shape = self._head(source)
        kind, size, data = self._tag(source)
        if kind not in _NUMBERS:
            raise Damaged(f"numbers are of the unknown type {kind}")
        dtype = np.dtype(self._order + _NUMBERS[kind])
        if size != math.prod(shape) * dtype.itemsize:
            raise Damaged(f"{math.prod(shape)} numbers should lie in {size} bytes")
        return dtype, data

    def _blocks(self, variable: _Variable, count: int, width: int) -> Iterator[NDArray[Any]]:
        with self._reading(variable) as source:
            dtype, data = self._numbers_head(source)
            native = dtype.newbyteorder("=")
            if data is not None:
                yield np.frombuffer(data, dtype).reshape(count, width).astype(native)
                return
            step = rows_per_block((count, width), dtype.itemsize)
            for start in range(0, count, step):
                rows = min(step, count - start)
                raw = source.read(rows * width * dtype.itemsize)
                yield np.frombuffer(raw, dtype).reshape(rows, width).astype(native, copy=False)
            source.read(-(count * width * dtype.itemsize) % 8)
            source.finish()

    def _text(self, source: Bytes, name: str, index: int, depth: int) -> str:
        fault = DataError(
            f"{self.path}: {name} holds something that is no text at place {index + 1}; put a "
            f"text there, or save cellstr({name})"
        )
        _, kind, shape = self._head(source)
        if kind == _CELL and math.prod(shape) == 1 and depth < _DEEPEST:
            return self._text(source, name, index, depth + 1)
        if kind != _CHAR or len(shape) != 2 or min(shape) > 1:
            raise fault
        text = self._characters(source, _LONGEST_TEXT)
        if text is None or not text.strip():
            raise fault
        return text.strip()

    def _rows_of_text(self, source: Bytes, name: str) -> list[str]:
        """Rows of a character matrix, which is stored column by column."""
        _, _, (count, width) = self._head(source)
        text = self._characters(source, 4 * count * width)
        source.finish()
        whole = text is not None and len(text) == count * width
        rows = [text[k::count].strip() for k in range(count)] if text and whole else []
        if not rows or "" in rows:
            raise DataError(
                f"{self.path}: {name} has a row of characters that is no text; save cellstr({name})"
            )
        return rows

    def _characters(self, source: Bytes, most: int) -> str | None:
        """Text of an element of characters, None if its encoding is unknown."""
        kind, size, data = self._tag(source)
        if size > most:
            raise Damaged("a text is longer than any name")
        data = _padded(source, size) if data is None else data
        utf16 = "utf-16-le" if self._order == "<" else "utf-16-be"
        codes = {1: "latin-1", 2: "latin-1", 16: "utf-8", 4: utf16, 17: utf16}
        try:
            return data.decode(codes[kind])
        except (KeyError, UnicodeDecodeError):
            return None


def _bytes(file: BinaryIO, offset: int, size: int, compressed: bool) -> Bytes:
    file.seek(offset)
    return InflatedBytes(file, size) if compressed else Bytes(file, size)


def _padded(source: Bytes, size: int) -> bytes:
    """Data of an element, which is filled up to a multiple of eight bytes."""
    data = source.read(size)
    source.read(-size % 8)
    return data


def _is_version_4(header: bytes) -> bool:
    """Whether a header is that of version 4.

    Its fields: type, rows, columns, whether complex, length of the first name, and the name.
    """
    if len(header) < 21 or not header[20:21].isalpha():
        return False
    for order in "<>":
        kind, rows, columns, imaginary, length = struct.unpack(order + "5i", header[:20])
        machine, rest = divmod(kind, 1000)
        known = 0 <= machine <= 4 and rest // 10 <= 5 and rest % 10 <= 2
        if known and min(rows, columns) >= 0 and imaginary in (0, 1) and 1 < length <= 64:
            return True
    return False
