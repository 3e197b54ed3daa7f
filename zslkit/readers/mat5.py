"""Reader of MATLAB files of version 5 to 7 that is safe for damaged files and streams large tables.

Format: MathWorks, "MAT-File Format", chapter 1. A header of 128 bytes, then elements of a tag
(type, size) and data; a variable is an element of type miMATRIX, or of type miCOMPRESSED that
contains one. General readers follow damaged tags out of their memory and crash, and hold a table of
features twice in memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.readers.mat5_bytes import Bytes, Damaged, InflatedBytes, PlainBytes
from zslkit.readers.stream import SMALL, Stream, refuse_bomb, rows_per_block
from zslkit.utils.files import not_permitted

_MATRIX, _COMPRESSED, _FLAGS, _DIMS, _NAME = 14, 15, 6, 5, 1
_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_CELL, _STRUCT, _CHAR, _SPARSE, _NUMERIC, _FUNCTION, _OPAQUE = 1, 2, 4, 5, range(6, 16), 16, 17
_COMPLEX = 0
"""Class given here to complex numbers, so that they do not count as numeric."""
_DEEPEST = 4
"""Nested cells around one text; some files wrap a text once or twice."""
_LONGEST_TEXT = 1 << 16

T = TypeVar("T")


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
    """Variables of a file by name.

    Values are read on request, so unused variables may be of any class.
    """

    def __init__(self, path: Path, again: str = "save it again with -v7") -> None:
        """Index the variables.

        Args:
            path: The file.
            again: Advice that ends every error about a damaged file.

        Raises:
            DataError: Names the file that is not a whole MATLAB file of version 5 to 7.
        """
        self.path, self.again = path, again
        self._order = "<"
        self.variables: dict[str, _Variable] = self._guarded(self._index)

    def __contains__(self, name: str) -> bool:
        return name in self.variables

    def shape(self, name: str) -> tuple[int, ...]:
        return self.variables[name].shape

    def is_numeric(self, name: str) -> bool:
        """Whether the variable is an array of real numbers."""
        return self.variables[name].kind in _NUMERIC

    def holds_texts(self, name: str) -> bool:
        """Whether the variable is a cell array or a character matrix, as lists of texts are."""
        return self.variables[name].kind in (_CELL, _CHAR)

    def columns(self, name: str) -> Stream:
        """Stream a table of numbers (A, N) by its columns, which are contiguous in the file.

        Returns:
            A stream of shape (N, A).

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
        dtype, _ = self._guarded(lambda: self._with(variable, self._numbers_head))
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
        if stream.nbytes > SMALL:
            raise DataError(
                f"{self.path}: {name} takes {stream.nbytes / 1e6:,.0f} MB, too much for what it "
                "should be; is it another variable?"
            )
        return stream.whole().T

    def texts(self, name: str) -> list[str]:
        """Read the texts of a cell array, or the rows of a character matrix.

        Blanks at both ends are removed.

        Raises:
            DataError: Names the variable that is not a list of texts.
        """
        variable = self.variables[name]
        if variable.kind == _CHAR and len(variable.shape) == 2:
            if (size := math.prod(variable.shape)) > SMALL:
                raise DataError(
                    f"{self.path}: {name} takes {size / 1e6:,.0f} MB, too much for names; is it "
                    "another variable?"
                )
            refuse_bomb(self.path, name, size, variable.size)
            return self._guarded(
                lambda: self._with(variable, lambda source: self._rows_of_text(source, name))
            )
        if variable.kind != _CELL:
            raise self._wrong_class(name, "no list of texts", _AS_TEXTS)
        refuse_bomb(self.path, name, 8 * math.prod(variable.shape), variable.size)

        def read(source: Bytes) -> list[str]:
            self._head(source)
            found = [self._text(source, name, i, 0) for i in range(math.prod(variable.shape))]
            source.finish()
            return found

        return self._guarded(lambda: self._with(variable, read))

    def _wrong_class(
        self, name: str, lacks: str, kinds: Mapping[int, tuple[str, str]]
    ) -> DataError:
        """Error for a variable of the wrong class; `kinds` is _AS_NUMBERS or _AS_TEXTS."""
        what, instead = kinds.get(self.variables[name].kind, ("of another kind", "it as one"))
        return DataError(
            f"{self.path}: {name} is {what} and {lacks}; save {instead.format(name)} there"
        )

    def _guarded(self, act: Callable[[], T]) -> T:
        """Run `act` and turn its errors into DataError."""
        try:
            return act()
        except PermissionError as error:
            raise not_permitted(self.path) from error
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be read ({error.strerror or error}); check the path and its "
                "permissions"
            ) from error
        except Damaged as error:
            raise DataError(
                f"{self.path} is no whole MATLAB file ({error}); {self.again}"
            ) from error

    def _with(self, variable: _Variable, act: Callable[[Bytes], T]) -> T:
        with self._source(variable) as source:
            return act(source)

    @contextmanager
    def _source(self, variable: _Variable) -> Iterator[Bytes]:
        with self.path.open("rb") as file:
            file.seek(variable.offset)
            yield (
                InflatedBytes(file, variable.size)
                if variable.compressed
                else PlainBytes(file, variable.size)
            )

    def _index(self) -> dict[str, _Variable]:
        found: dict[str, _Variable] = {}
        length = self.path.stat().st_size
        with self.path.open("rb") as file:
            self._order = self._file_header(file.read(128))
            position = 128
            while position < length:
                file.seek(position)
                kind, size = struct.unpack(
                    self._order + "II", PlainBytes(file, length - position).read(8)
                )
                position += 8
                if kind not in (_MATRIX, _COMPRESSED):
                    raise Damaged(f"there is a tag {kind} where a variable should be")
                if size > length - position:
                    raise Damaged("a variable is cut off")
                compressed = kind == _COMPRESSED
                start = file.tell()
                source = InflatedBytes(file, size) if compressed else PlainBytes(file, size + 8)
                if not compressed:  # include the tag, as the data of a compressed variable do
                    start -= 8
                    file.seek(start)
                if size:
                    name, matrix_kind, shape = self._head(source)
                    if name in found and name:  # MATLAB stores parts of objects without a name
                        raise Damaged(f"the variable {name!r} stands twice")
                    found[name] = _Variable(
                        start, size + (0 if compressed else 8), compressed, matrix_kind, shape
                    )
                position += size
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
        if data is None:
            data = source.read(size)
            source.read(-size % 8)
        return data

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
        return (
            name.decode("latin-1"),
            _COMPLEX if word & 0x800 and kind in _NUMERIC else kind,
            shape,
        )

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
        with self._source(variable) as source:
            dtype, data = self._guarded(lambda: self._numbers_head(source))
            if data is not None:
                yield (
                    np.frombuffer(data, dtype).reshape(count, width).astype(dtype.newbyteorder("="))
                )
                return
            step = rows_per_block((count, width), dtype.itemsize)
            for start in range(0, count, step):
                rows = min(step, count - start)
                raw = self._guarded(lambda rows=rows: source.read(rows * width * dtype.itemsize))  # type: ignore[misc]
                yield (
                    np.frombuffer(raw, dtype)
                    .reshape(rows, width)
                    .astype(dtype.newbyteorder("="), copy=False)
                )
            self._guarded(lambda: self._end(source, count * width * dtype.itemsize))

    def _end(self, source: Bytes, size: int) -> None:
        source.read(-size % 8)
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
        rows = (
            []
            if text is None or len(text) != count * width
            else [text[k::count].strip() for k in range(count)]
        )
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
        if data is None:
            data = source.read(size)
            source.read(-size % 8)
        codes = {1: "latin-1", 2: "latin-1", 16: "utf-8", 4: self._utf16, 17: self._utf16}
        try:
            return data.decode(codes[kind])
        except (KeyError, UnicodeDecodeError):
            return None

    @property
    def _utf16(self) -> str:
        return "utf-16-le" if self._order == "<" else "utf-16-be"


def _is_version_4(header: bytes) -> bool:
    """Whether a header is that of version 4.

    Its fields: type, rows, columns, whether complex, length of the first name, and the name.
    """
    if len(header) < 21:
        return False
    for order in "<>":
        kind, rows, columns, imaginary, length = struct.unpack(order + "5i", header[:20])
        thousands, rest = divmod(kind, 1000)
        if not (0 <= thousands <= 4 and rest < 100 and rest // 10 <= 5 and rest % 10 <= 2):
            continue
        if (
            min(rows, columns) >= 0
            and imaginary in (0, 1)
            and 1 < length <= 64
            and header[20:21].isalpha()
        ):
            return True
    return False
