"""Arrays in untrusted .npy and .npz files: no pickle runs, and claimed sizes are checked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.readers.stream import SMALL, TEXTS, Stream, numeric, refuse_bomb, rows_per_block
from zslkit.utils.files import not_permitted
from zslkit.utils.printable import reason_of

_LONGEST_HEADER = 10_000
_OBJECTS = (
    "it holds Python objects, which are not loaded; make it numpy.asarray(..., dtype=float) first"
)


def open_npy(path: Path) -> Stream:
    """Open the array of a .npy file, memory-mapped.

    Raises:
        DataError: Names the file that is damaged or holds no plain numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=_LONGEST_HEADER)
        if not isinstance(array, np.memmap):
            raise ValueError("it is a .npz file by its content")
        _need_numbers(array.shape, array.dtype)
    except Exception as error:  # numpy raises errors of many types for a damaged header
        raise _damaged(path, "", error) from error
    step = rows_per_block(array.shape, array.dtype.itemsize)
    native = array.dtype.newbyteorder("=")

    def blocks() -> Iterator[NDArray[Any]]:
        for start in range(0, len(array), step):
            yield np.array(array[start : start + step], dtype=native, order="C")

    return Stream(array.shape, native, blocks)


def npz_names(path: Path) -> list[str]:
    """Names of the arrays in a .npz file; raises DataError if it is none."""
    try:
        with zipfile.ZipFile(path) as file:
            return [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]
    except Exception as error:  # zipfile raises errors of many types for a damaged directory
        raise _damaged(path, "", error) from error


def open_npz(path: Path, name: str) -> Stream:
    """Open one array of a .npz file; it is decompressed while it is read.

    Raises:
        DataError: Names file and array if it is damaged or claims far more bytes than are stored.
    """
    try:
        with zipfile.ZipFile(path) as file:
            info = file.getinfo(name + ".npy")
            usual = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            if not usual or info.flag_bits & 1:
                raise ValueError("it is packed in a way that numpy does not use")
            with file.open(info) as member:
                shape, fortran, dtype = _header(member)
                nbytes, begin = math.prod(shape) * dtype.itemsize, member.tell()
        if nbytes + begin != info.file_size:
            raise ValueError(
                f"its header speaks of {nbytes} bytes and {info.file_size - begin} are there"
            )
    except Exception as error:
        raise _damaged(path, name, error) from error
    refuse_bomb(path, name, nbytes, min(info.compress_size, path.stat().st_size))
    if fortran and len(shape) > 1 and nbytes > SMALL:
        raise DataError(f"{path}: {name} lies column by column; save numpy.ascontiguousarray of it")
    step = len(range(shape[0])) if fortran else rows_per_block(shape, dtype.itemsize)

    def blocks() -> Iterator[NDArray[Any]]:
        try:
            with zipfile.ZipFile(path) as file, file.open(name + ".npy") as member:
                member.read(begin)
                for start in range(0, shape[0], max(1, step)):
                    rows = min(step, shape[0] - start)
                    raw = member.read(rows * math.prod(shape[1:]) * dtype.itemsize)
                    block = np.frombuffer(raw, dtype).reshape(
                        (rows, *shape[1:]), order="F" if fortran else "C"
                    )
                    yield block.astype(dtype.newbyteorder("="), order="C", copy=False)
                member.read(1)  # zipfile verifies the checksum at the end of the member
        except Exception as error:
            raise _damaged(path, name, error) from error

    return Stream(shape, dtype.newbyteorder("="), blocks)


def npz_texts(path: Path, name: str) -> tuple[str, ...] | Literal["objects"] | None:
    """Texts in one array of a .npz file, in row-major order; None if it holds anything else.

    An array of Python objects is not loaded: the answer is "objects".

    Raises:
        DataError: Names file and array if it is damaged or too large for names.
    """
    try:
        with zipfile.ZipFile(path) as file, file.open(name + ".npy") as member:
            shape, fortran, dtype = _any_header(member)
            if dtype.hasobject:
                return "objects"
            if dtype.kind not in "US" or not dtype.itemsize or not shape:
                return None
            nbytes = math.prod(shape) * dtype.itemsize
            if nbytes > TEXTS:
                raise ValueError(f"it claims {nbytes / 1e6:,.0f} MB of names")
            raw = member.read(nbytes + 1)
        if len(raw) != nbytes:
            raise ValueError(f"its header speaks of {nbytes} bytes and {len(raw)} are there")
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
        texts = array.ravel().tolist()
        return tuple(text.decode() if isinstance(text, bytes) else str(text) for text in texts)
    except Exception as error:  # damaged archives and texts cause errors of many types
        raise _damaged(path, name, error) from error


def _any_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype of an array of any dtype."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member, max_header_size=_LONGEST_HEADER)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member, max_header_size=_LONGEST_HEADER)
    raise ValueError(f"its format {version} is not that of plain numbers")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype of an array of plain numbers."""
    shape, fortran, dtype = _any_header(member)
    if dtype.hasobject:
        raise ValueError(_OBJECTS)
    _need_numbers(shape, dtype)
    return shape, fortran, dtype


def _need_numbers(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not numeric(dtype) or not shape or min(shape) < 0:
        raise ValueError(
            f"it holds {str(dtype)[:60]} {shape}, and a table of plain numbers is needed"
        )


def _damaged(path: Path, name: str, error: Exception) -> DataError:
    """Error for a file (and array `name`) that cannot be read."""
    if isinstance(error, DataError):
        return error
    if isinstance(error, PermissionError):
        return not_permitted(path)
    reason = reason_of(error, 300)
    if "Python objects in dtype" in reason:  # wording of numpy
        reason = _OBJECTS
    return DataError(
        f"{path}{f': {name}' if name else ''} is no whole numpy file of plain numbers ({reason}); "
        "save it anew"
    )
