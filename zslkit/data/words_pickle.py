"""Numpy arrays out of pickle files that nobody vouches for: what the pickle calls is replaced by stand-ins."""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError

LARGEST = 1 << 30
"""Pickles over so many bytes are refused: no table of word vectors comes near."""


class _Type:
    """Stands for numpy.dtype. Only plain numbers are admitted: no objects, no records."""

    def __init__(self, code: Any, *_: Any) -> None:
        code = _text(code)
        if not re.fullmatch(r"[<>=|]?[biuf]\d{0,2}", code):
            raise pickle.UnpicklingError(f"numbers of type {code!r} are not admitted")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class _Array:
    """Stands for numpy.ndarray while its parts come in."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, raw = state
        self.array = _array(raw, kind, shape, "F" if columns_first else "C")


def _array(raw: Any, kind: Any, shape: Any, order: str) -> NDArray[Any]:
    if not isinstance(kind, _Type) or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array is put together in an unknown way")
    data = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
    flat: NDArray[Any] = np.frombuffer(data, dtype=kind.dtype)
    return flat.reshape(tuple(shape), order="F" if order == "F" else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any = "C") -> _Array:
    made = _Array()
    made.array = _array(raw, kind, shape, _text(order))
    return made


def _scalar(kind: Any, raw: Any) -> Any:
    return _array(raw, kind, (), "C")[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("bytes are written in an unknown encoding")
    return text.encode("latin1")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


# The unpickler written in Python: the one in C takes gigabytes for a few bytes that name a far memo place.
class _Unpickler(pickle._Unpickler):
    """Answers each name that a pickled array needs with a stand-in, and refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        stand_ins = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy.core.multiarray", "scalar"): _scalar,
            ("numpy.core.numeric", "_frombuffer"): _from_buffer,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Type,
            ("_codecs", "encode"): _encode,
        }
        wanted = (module.replace("numpy._core.", "numpy.core."), name)
        if wanted not in stand_ins:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no table of numbers needs")
        return stand_ins[wanted]


def read_array_pickle(path: Path) -> NDArray[Any]:
    """The array in a pickle file; nothing that the file names is imported or called.

    Raises DataError if the file is damaged or holds anything but one array of numbers (or a list of equal ones).
    """
    try:
        if path.stat().st_size > LARGEST:
            raise pickle.UnpicklingError("it is larger than any table of word vectors")
        loaded = _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        table = _plain(loaded)
    except Exception as error:  # a hostile pickle can make the machine of pickle raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is no pickle of one numpy array ({reason}); save the array with numpy.save instead") from error
    return table


def _plain(loaded: Any) -> NDArray[Any]:
    if isinstance(loaded, _Array) and loaded.array is not None:
        return loaded.array
    if isinstance(loaded, list) and loaded:
        return np.asarray([row.array if isinstance(row, _Array) else row for row in loaded], dtype=np.float64)
    raise pickle.UnpicklingError(f"it holds a {type(loaded).__name__.strip('_')}")
