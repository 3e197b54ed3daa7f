"""Numpy arrays from untrusted pickle files: stand-ins replace every object that a pickle names."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.utils.files import need_plain
from zslkit.utils.printable import reason_of

LARGEST = 256 << 20
"""Limit of the file in bytes, far above any table of word vectors of attributes."""
MOST_STEPS = 1_000_000
"""Limit of instructions; a list of lists takes one a number.

An empty set takes one byte of the file and 216 bytes of memory.
"""
_REFUSED = {
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET",
    "OBJ", "INST", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4",
    "NEXT_BUFFER", "READONLY_BUFFER", "DUP", "POP_MARK",
}  # fmt: skip
"""Instructions that arrays and lists of numbers do not need.

Dictionaries and sets are among them because hashing nested objects may take unlimited time.
"""


class _Bytes:
    """Bytes that Python 2 wrote as a text, one character a byte; converted at the end."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Type:
    """Stand-in for numpy.dtype; accepts plain numbers only, no objects and no records."""

    def __init__(self, code: Any, *_: Any) -> None:
        code = _text(code)
        if not re.fullmatch(r"[<>=|]?[biuf]\d{0,2}", code):
            raise pickle.UnpicklingError(f"numbers of type {code[:40]!r} are not admitted")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class _Array:
    """Stand-in for numpy.ndarray: keeps the parts, which arrays may share, until all are known."""

    parts: tuple[Any, Any, Any, str] | None = None

    def __init__(self, *_: Any) -> None:
        """Take the arguments of numpy's _reconstruct, which say nothing."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, raw = state
        self.parts = raw, kind, shape, "F" if columns_first else "C"

    def whole(self) -> NDArray[Any]:
        if self.parts is None:
            raise pickle.UnpicklingError("it holds an array without numbers")
        raw, kind, shape, order = self.parts
        if not isinstance(kind, _Type) or order not in ("C", "F"):
            raise pickle.UnpicklingError("an array is put together in an unknown way")
        sides = shape if isinstance(shape, tuple) else (None,)
        if not all(type(side) is int and side >= 0 for side in sides):
            raise pickle.UnpicklingError("an array has a shape that is none")
        raw = raw.text if isinstance(raw, _Bytes) else raw
        nbytes = math.prod(shape) * kind.dtype.itemsize
        if not isinstance(raw, str | bytes | bytearray) or len(raw) != nbytes:
            raise pickle.UnpicklingError("an array has more or fewer numbers than its shape says")
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        flat: NDArray[Any] = np.frombuffer(data, dtype=kind.dtype)
        return flat.reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any = "C") -> _Array:
    array = _Array()
    array.parts = raw, kind, shape, _text(order)
    return array


def _scalar(kind: Any, raw: Any) -> Any:
    array = _Array()
    array.parts = raw, kind, (), "C"
    return array.whole()[()]


def _encode(text: Any, encoding: Any = "latin1") -> _Bytes:
    if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("bytes are written in an unknown encoding")
    return _Bytes(text)


def _text(value: Any) -> str:
    """Convert a word of the pickle to str.

    Other types are refused: nested objects may take unlimited time to convert.
    """
    if isinstance(value, _Bytes):
        value = value.text
    if not isinstance(value, str | bytes):
        raise pickle.UnpicklingError(
            f"there is a {type(value).__name__.strip('_')} where a word should be"
        )
    return value.decode("latin1") if isinstance(value, bytes) else value


_NAMES = {ord(operation.code): operation.name for operation in pickletools.opcodes}


def _counted(name: str, follow: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap an instruction so that it is counted, and refused if forbidden or over the limit."""

    def step(unpickler: Any) -> None:
        unpickler.steps += 1
        if name in _REFUSED:
            raise pickle.UnpicklingError(f"it uses {name}, which no table of numbers needs")
        if unpickler.steps > MOST_STEPS:
            raise pickle.UnpicklingError(f"it takes more than {MOST_STEPS:,} steps")
        follow(unpickler)

    return step


def _bytearray(unpickler: Any) -> None:
    """Read BYTEARRAY8; pickle would allocate its memory before it checks that the bytes exist."""
    size = int.from_bytes(unpickler.read(8), "little")
    data = unpickler.read(min(size, LARGEST))
    if len(data) != size:
        raise pickle.UnpicklingError(f"{size:,} bytes are claimed and {len(data):,} are there")
    unpickler.append(data)


# The unpickler in Python: the one in C allocates gigabytes for a memo index of a few bytes.
class _Unpickler(pickle._Unpickler):
    """Replaces each name that a pickled array needs; refuses other names and instructions."""

    steps = 0
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: _counted(_NAMES[code], _bytearray if bytes([code]) == pickle.BYTEARRAY8 else follow)
        for code, follow in pickle._Unpickler.dispatch.items()
    }

    def find_class(self, module: str, name: str) -> Any:
        stand_ins = {
            ("numpy.core.multiarray", "_reconstruct"): _Array,
            ("numpy.core.multiarray", "scalar"): _scalar,
            ("numpy.core.numeric", "_frombuffer"): _from_buffer,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Type,
            ("_codecs", "encode"): _encode,
        }
        wanted = (module.replace("numpy._core.", "numpy.core."), name)
        if wanted not in stand_ins:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no table of numbers needs"
            )
        return stand_ins[wanted]


def read_array_pickle(path: Path) -> NDArray[Any]:
    """Read the array of a pickle file; nothing that the file names is imported or called.

    Raises:
        DataError: The file is damaged, or is not one array of numbers or a list of rows of numbers.
    """
    try:
        need_plain(path)
        if path.stat().st_size > LARGEST:
            raise pickle.UnpicklingError("it is larger than any table of word vectors")
        content = path.read_bytes()
        table = _plain(_Unpickler(io.BytesIO(content), encoding="latin1").load(), len(content))
    except Exception as error:  # a hostile pickle can make pickle raise errors of any type
        raise DataError(
            f"{path} is no pickle of one numpy array ({reason_of(error, 300)}); save the array "
            "with numpy.save instead"
        ) from error
    return table


def _plain(loaded: Any, most: int) -> NDArray[Any]:
    """Convert the loaded object to a table of at most `most` numbers."""
    if isinstance(loaded, _Array):
        return loaded.whole()
    if not isinstance(loaded, list) or not loaded:
        raise pickle.UnpicklingError(f"it holds a {type(loaded).__name__.strip('_')}")
    width = len(_row(loaded[0]))
    # Many rows may be the same object; then the table would be larger than the file.
    if len(loaded) * width > most:
        raise pickle.UnpicklingError(
            f"it claims {len(loaded) * width:,} numbers and holds {most:,} bytes"
        )
    table = np.empty((len(loaded), width))
    for k, entry in enumerate(loaded):
        row = _row(entry)
        if len(row) != width:
            raise pickle.UnpicklingError(f"row {k} has {len(row)} numbers and row 0 {width}")
        table[k] = row
    return table


def _row(entry: Any) -> NDArray[Any] | list[Any]:
    """Check one row of a list of rows."""
    row = entry.whole() if isinstance(entry, _Array) else entry
    if isinstance(row, np.ndarray) and row.ndim == 1:
        return row
    if isinstance(row, list) and all(isinstance(number, int | float | np.number) for number in row):
        return row
    raise pickle.UnpicklingError("it holds a list of something else than rows of numbers")
