"""The scores of both test sets, kept with a run so that new metrics need no retraining.

Scores are the largest output of a run (images times classes), so they are written batch by batch
and memory-mapped on reading. The file is a plain .npz, which `numpy.load` reads.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.utils.files import check_permitted

Table = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scores:
    """Uncalibrated scores of one model on both test sets.

    Scores (Ns, C) and (Nu, C) float32, in memory or memory-mapped, with labels (Ns,) and (Nu,); the
    C classes and seen (C,) bool.
    """

    test_seen_scores: Table
    test_seen_labels: Labels
    test_unseen_scores: Table
    test_unseen_labels: Labels
    seen: NDArray[np.bool_]
    classes: tuple[str, ...]

    def sets(self) -> tuple[Table, Labels, Table, Labels, NDArray[np.bool_]]:
        """The arguments of the evaluator, in its order."""
        return (
            self.test_seen_scores,
            self.test_seen_labels,
            self.test_unseen_scores,
            self.test_unseen_labels,
            self.seen,
        )

    def write(self, file: IO[bytes]) -> None:
        """Write an archive that `read_scores` reads."""
        seen, of_seen, unseen, of_unseen, mask = self.sets()
        ScoreStream([seen], of_seen, [unseen], of_unseen, mask, self.classes).write(file)


@dataclass(frozen=True, eq=False)
class ScoreStream:
    """Scores while they are computed: batches (B, C) of each set, in the order of its labels."""

    test_seen: Iterable[Table]
    test_seen_labels: Labels
    test_unseen: Iterable[Table]
    test_unseen_labels: Labels
    seen: NDArray[np.bool_]
    classes: tuple[str, ...]

    def write(self, file: IO[bytes]) -> None:
        """Write an archive that `read_scores` reads; holds one batch in memory at a time.

        Raises:
            ValueError: The number of rows differs from the number of labels.
        """
        with zipfile.ZipFile(file, "w") as archive:
            for part in ("test_seen", "test_unseen"):
                shape = len(getattr(self, f"{part}_labels")), len(self.seen)
                _put_table(archive, f"{part}_scores", getattr(self, part), shape)
            for name in ("test_seen_labels", "test_unseen_labels"):
                put(archive, name, getattr(self, name).astype(np.int64, copy=False))
            put(archive, "seen", self.seen)
            put(archive, "classes", np.array(self.classes, dtype=np.str_))

    def keep(self, place: Path) -> Scores:
        """Write a new file `place`, sync it to the disk, and return the scores memory-mapped."""
        # An old file may still be mapped, so it is unlinked and not overwritten.
        place.unlink(missing_ok=True)
        with place.open("xb") as file:
            self.write(file)
            file.flush()
            os.fsync(file.fileno())
        return read_scores(place, verify=False)


def _put_table(
    archive: zipfile.ZipFile, name: str, batches: Iterable[Table], shape: tuple[int, int]
) -> None:
    rows = 0
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        for batch in batches:
            member.write(
                np.ascontiguousarray(batch, dtype="<f4").data.cast("B") if batch.size else b""
            )
            rows += len(batch)
    if rows != shape[0]:
        raise ValueError(f"{name}: {rows} rows of scores came for {shape[0]} images")


def put(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Add an array to an archive for `numpy.load`."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def take(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read an array from an archive into memory; never a pickle."""
    with archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(
            member, allow_pickle=False, max_header_size=LONGEST_HEADER
        )
        return array


UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""Errors of reading a file that is not a complete archive of arrays."""
LONGEST_HEADER = 10_000
_UNFOLDED, _RATIO = 64 << 20, 200
"""A compressed array may unpack to this many bytes at any ratio (labels compress well); a larger
one only to this multiple of the file's size."""
_PIECE = 1 << 20


def read_scores(path: Path, verify: bool = True) -> Scores:
    """Read a `scores.npz`, memory-mapped; `verify` reads it once to compare checksums.

    Raises:
        DataError: The file is missing or damaged; names the fault and the next step.
    """
    mend = f"move the folder {path.parent} away and run again"
    check_permitted(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            arrays: dict[str, Any] = {name: _array(file, archive, name, verify) for name in _TYPES}
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {mend}") from error
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}; {mend}") from error
    except UNREADABLE as error:
        raise DataError(f"{path} is cut off or damaged ({error}); {mend}") from error
    if fault := _fault(arrays):
        raise DataError(f"{path}: {fault}; {mend}")
    return Scores(**{**arrays, "classes": tuple(arrays["classes"].tolist())})


def _array(file: IO[bytes], archive: zipfile.ZipFile, name: str, verify: bool) -> NDArray[Any]:
    """One array of the archive: uncompressed scores memory-mapped, others in memory."""
    info = archive.getinfo(f"{name}.npy")
    if not name.endswith("_scores") or info.compress_type != zipfile.ZIP_STORED:
        if info.file_size > _UNFOLDED and info.file_size > _RATIO * _size(file):
            raise ValueError(
                f"{name} would unfold to {info.file_size / 1e6:,.0f} MB, "
                "and no scores shrink that much"
            )
        return take(archive, name)
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        form = np.lib.format
        read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, fortran, dtype = read(member, max_header_size=LONGEST_HEADER)
        begin = member.tell()
        fits = begin + dtype.itemsize * math.prod(shape) == info.file_size
        if dtype.hasobject or min(shape, default=0) < 0 or not fits:
            raise ValueError(
                f"{name} is said to be {dtype} of shape {shape}, "
                f"and {info.file_size - begin} bytes are there"
            )
        if info.file_size > _size(file) or info.file_size != info.compress_size:
            raise ValueError(f"{name} ends behind the end of the file")
        while verify and member.read(_PIECE):
            pass  # zipfile compares the checksum after the last piece
    if not math.prod(shape):
        return np.empty(shape, dtype)
    offset = _begin(file, info) + begin
    return np.asarray(np.memmap(file, dtype, "r", offset, shape, order="F" if fortran else "C"))


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _begin(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Offset of an uncompressed entry's bytes: after its local header, which varies in length."""
    file.seek(info.header_offset)
    header = file.read(30)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"{info.filename} has no header at its place")
    name, extra = struct.unpack("<HH", header[26:])
    return info.header_offset + 30 + int(name) + int(extra)


_TYPES: dict[str, tuple[Any, int]] = {
    "test_seen_scores": (np.float32, 2),
    "test_seen_labels": (np.int64, 1),
    "test_unseen_scores": (np.float32, 2),
    "test_unseen_labels": (np.int64, 1),
    "seen": (np.bool_, 1),
    "classes": (np.str_, 1),
}


def _fault(arrays: dict[str, NDArray[Any]]) -> str:
    """What is wrong with types and shapes; "" if nothing is."""
    for name, (dtype, dimensions) in _TYPES.items():
        array = arrays[name]
        if not np.issubdtype(array.dtype, dtype) or array.ndim != dimensions:
            return f"{name} is {array.dtype} of shape {array.shape}"
    count = len(arrays["classes"])
    for part in ("test_seen", "test_unseen"):
        wanted = (len(arrays[f"{part}_labels"]), count)
        if arrays[f"{part}_scores"].shape != wanted:
            return (
                f"{part}_scores has shape {arrays[f'{part}_scores'].shape} where {wanted} belongs"
            )
        labels = arrays[f"{part}_labels"]
        if labels.size and not 0 <= labels.min() <= labels.max() < count:
            return f"{part}_labels run from {labels.min()} to {labels.max()} for {count} classes"
    if len(arrays["seen"]) != count:
        return f"seen has {len(arrays['seen'])} entries for {count} classes"
    names, counts = np.unique(arrays["classes"], return_counts=True)
    return (
        f"the class name {str(names[counts.argmax()])!r} stands more than once in classes"
        if len(names) < count
        else ""
    )


class ModelError(Exception):
    """Wraps an OSError from computing scores, to tell it from one of writing them."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def distinguish(batches: Iterable[Table]) -> Iterator[Table]:
    """The batches; an OSError from computing one becomes a ModelError."""
    try:
        yield from batches
    except OSError as error:
        raise ModelError(error) from error
