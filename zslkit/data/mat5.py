"""MATLAB files of version 5 to 7, read by a walk over their tags that never looks beyond what a tag allows.

The format is that of MathWorks' "MAT-File Format", chapter 1: a header of 128 bytes, then elements of a tag (type, size) and
data, each variable one element of type miMATRIX, or one of type miCOMPRESSED that holds it. A general reader follows damaged
tags out of its memory and the process dies; it also keeps a table of features twice in memory. This one streams them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zslkit.data.mat5_bytes import Bytes, Damaged, Inflated, Plain
from zslkit.data.stream import SMALL, Stream, refuse_bomb, rows_per_block
from zslkit.errors import DataError
from zslkit.files import not_permitted

_MATRIX, _COMPRESSED, _FLAGS, _DIMS, _NAME = 14, 15, 6, 5, 1
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _CHAR, _NUMERIC = 1, 4, range(6, 16)
_DEEPEST = 4
"""Cells in cells: a text is sometimes wrapped once or twice."""
_LONGEST_TEXT = 1 << 16

T = TypeVar("T")


@dataclass(frozen=True)
class _Variable:
    offset: int
    size: int
    compressed: bool
    kind: int
    shape: tuple[int, ...]


class MatFile:
    """The variables of a file by name, found without reading what they hold."""

    def __init__(self, path: Path) -> None:
        """Raises DataError that names the file if it is no whole MATLAB file of version 5 to 7."""
        self.path = path
        self._order = "<"
        self.variables: dict[str, _Variable] = self._guarded(self._index)

    def __contains__(self, name: str) -> bool:
        return name in self.variables

    def shape(self, name: str) -> tuple[int, ...]:
        return self.variables[name].shape

    def is_numeric(self, name: str) -> bool:
        """Whether the variable is a table of numbers (a complex one is none)."""
        return self.variables[name].kind in _NUMERIC

    def columns(self, name: str) -> Stream:
        """A table of numbers (A, N) by its columns, which lie one after the other in the file: a stream of shape (N, A)."""
        variable = self.variables[name]
        if variable.kind not in _NUMERIC or len(variable.shape) != 2:
            raise DataError(f"{self.path}: {name} is no table of numbers; fetch the file again")
        width, count = variable.shape
        dtype, _ = self._guarded(lambda: self._with(variable, self._numbers_head))
        refuse_bomb(self.path, name, math.prod(variable.shape) * dtype.itemsize, variable.size)
        return Stream((count, width), dtype.newbyteorder("="), lambda: self._blocks(variable, count, width))

    def table(self, name: str) -> NDArray[Any]:
        """A table of numbers as MATLAB shows it. Raises DataError if it is none or too large to be one of labels or attributes."""
        stream = self.columns(name)
        if stream.nbytes > SMALL:
            raise DataError(
                f"{self.path}: {name} takes {stream.nbytes / 1e6:,.0f} MB, too much for what it should be; fetch the file again"
            )
        return stream.whole().T

    def texts(self, name: str) -> list[str]:
        """The texts in a cell array. Raises DataError if something in it is no text."""
        variable = self.variables[name]
        if variable.kind != _CELL:
            raise DataError(f"{self.path}: {name} is no list of texts; fetch the file again")
        refuse_bomb(self.path, name, 8 * math.prod(variable.shape), variable.size)

        def read(source: Bytes) -> list[str]:
            self._head(source)
            found = [self._text(source, name, i, 0) for i in range(math.prod(variable.shape))]
            source.finish()
            return found

        return self._guarded(lambda: self._with(variable, read))

    def _guarded(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except PermissionError as error:
            raise not_permitted(self.path) from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror or error}); check the path and its permissions") from error
        except Damaged as error:
            raise DataError(f"{self.path} is no whole MATLAB file ({error}); fetch it again") from error

    def _with(self, variable: _Variable, act: Callable[[Bytes], T]) -> T:
        with self._source(variable) as source:
            return act(source)

    @contextmanager
    def _source(self, variable: _Variable) -> Iterator[Bytes]:
        with self.path.open("rb") as file:
            file.seek(variable.offset)
            yield Inflated(file, variable.size) if variable.compressed else Plain(file, variable.size)

    def _index(self) -> dict[str, _Variable]:
        found: dict[str, _Variable] = {}
        length = self.path.stat().st_size
        with self.path.open("rb") as file:
            self._order = self._file_header(file.read(128))
            place = 128
            while place < length:
                file.seek(place)
                kind, size = struct.unpack(self._order + "II", Plain(file, length - place).read(8))
                place += 8
                if kind not in (_MATRIX, _COMPRESSED):
                    raise Damaged(f"there is a tag {kind} where a variable should be")
                if size > length - place:
                    raise Damaged("a variable is cut off")
                compressed = kind == _COMPRESSED
                start = file.tell()
                source = Inflated(file, size) if compressed else Plain(file, size + 8)
                if not compressed:  # the head begins at the tag itself, as it does inside a compressed variable
                    start -= 8
                    file.seek(start)
                if size:
                    name, matrix_kind, shape = self._head(source)
                    if name in found:
                        raise Damaged(f"the variable {name!r} stands twice")
                    found[name] = _Variable(start, size + (0 if compressed else 8), compressed, matrix_kind, shape)
                place += size
        return found

    def _file_header(self, header: bytes) -> str:
        if header[:8] == b"\x89HDF\r\n\x1a\n" or header[124:128] in (b"\x00\x02IM", b"\x02\x00MI"):
            raise DataError(f"{self.path} is a MATLAB file of version 7.3; save it with -v7")
        order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(header[124:128])
        if order is None:
            raise Damaged("its header is not that of version 5 to 7")
        return order

    def _tag(self, source: Bytes) -> tuple[int, int, bytes | None]:
        """Type and size of an element, and its data where they are packed into the tag."""
        head = source.read(8)
        (word,) = struct.unpack(self._order + "I", head[:4])
        if word >> 16:
            if word >> 16 > 4:
                raise Damaged("a short element claims more than four bytes")
            return word & 0xFFFF, word >> 16, head[4 : 4 + (word >> 16)]
        return word, struct.unpack(self._order + "I", head[4:])[0], None

    def _small(self, source: Bytes, wanted: int, most: int) -> bytes:
        kind, size, data = self._tag(source)
        if kind != wanted or size > most:
            raise Damaged(f"there is an element of type {kind} and {size} bytes where one of type {wanted} should be")
        if data is None:
            data = source.read(size)
            source.read(-size % 8)
        return data

    def _head(self, source: Bytes) -> tuple[str, int, tuple[int, ...]]:
        """Name, class and shape of a variable; an empty one has no head and the class of a number."""
        kind, size, _ = self._tag(source)
        if kind != _MATRIX:
            raise Damaged(f"there is a tag {kind} where a variable should be")
        if not size:
            return "", 6, (0, 0)
        flags = self._small(source, _FLAGS, 8)
        dims = self._small(source, _DIMS, 4 * 32)
        name = self._small(source, _NAME, 4096)
        if len(flags) != 8 or len(dims) < 8 or len(dims) % 4:
            raise Damaged("the head of a variable is broken")
        (word,) = struct.unpack(self._order + "I", flags[:4])
        shape = struct.unpack(f"{self._order}{len(dims) // 4}i", dims)
        if min(shape) < 0:
            raise Damaged("a variable has a negative size")
        kind = word & 0xFF
        return name.decode("latin-1"), 0 if word & 0x800 and kind in _NUMERIC else kind, shape  # complex numbers are none of ours

    def _numbers_head(self, source: Bytes) -> tuple[np.dtype[Any], bytes | None]:
        """The type in which the numbers lie in the file (MATLAB keeps whole ones in few bytes), and they if they are very few."""
        _, _, shape = self._head(source)
        kind, size, data = self._tag(source)
        if kind not in _NUMBERS:
            raise Damaged(f"numbers are of the unknown type {kind}")
        dtype = np.dtype(self._order + _NUMBERS[kind])
        if size != math.prod(shape) * dtype.itemsize:
            raise Damaged(f"{math.prod(shape)} numbers should lie in {size} bytes")
        return dtype, data

    def _blocks(self, variable: _Variable, count: int, width: int) -> Iterator[NDArray[Any]]:
        with self._source(variable) as source:
            dtype, data = self._guarded(lambda: self._numbers_head(source))
            if data is not None:
                yield np.frombuffer(data, dtype).reshape(count, width).astype(dtype.newbyteorder("="))
                return
            step = rows_per_block((count, width), dtype.itemsize)
            for start in range(0, count, step):
                rows = min(step, count - start)
                raw = self._guarded(lambda rows=rows: source.read(rows * width * dtype.itemsize))  # type: ignore[misc]
                yield np.frombuffer(raw, dtype).reshape(rows, width).astype(dtype.newbyteorder("="), copy=False)
            self._guarded(lambda: self._end(source, count * width * dtype.itemsize))

    def _end(self, source: Bytes, size: int) -> None:
        source.read(-size % 8)
        source.finish()

    def _text(self, source: Bytes, name: str, place: int, depth: int) -> str:
        fault = DataError(f"{self.path}: {name} holds something that is no text at place {place + 1}; fetch the file again")
        _, kind, shape = self._head(source)
        if kind == _CELL and math.prod(shape) == 1 and depth < _DEEPEST:
            return self._text(source, name, place, depth + 1)
        if kind != _CHAR or len(shape) != 2 or min(shape) > 1:
            raise fault
        kind, size, data = self._tag(source)
        if size > _LONGEST_TEXT:
            raise Damaged("a text is longer than any name")
        if data is None:
            data = source.read(size)
            source.read(-size % 8)
        codes = {1: "latin-1", 2: "latin-1", 16: "utf-8", 4: self._utf16, 17: self._utf16}
        try:
            text = data.decode(codes[kind]).strip()
        except (KeyError, UnicodeDecodeError):
            raise fault from None
        if not text:
            raise fault
        return text

    @property
    def _utf16(self) -> str:
        return "utf-16-le" if self._order == "<" else "utf-16-be"
