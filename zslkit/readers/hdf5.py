"""HDF5 files, read by a separate process with a memory limit (`hdf5_child`).

The HDF5 library is written in C and trusts the file: a damaged file can crash the process.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.readers.stream import SMALL, TEXTS, Stream, numeric, rows_per_block

SILENCE = 300.0
"""Seconds without data from the reading process after which it counts as hung."""
_LINE = 4096


@dataclass
class NamedArrays:
    """Contents of a file."""

    small: dict[str, NDArray[Any]] = field(default_factory=dict)  # Small datasets by name
    large: Stream | None = None  # The large dataset, as a stream that can be read once
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)  # Lists of names, by dataset
    others: tuple[str, ...] = ()  # Names of everything else in the file; groups end in "/"
    sealed: tuple[str, ...] = ()  # Requested lists of names that hold objects instead of texts


@contextmanager
def open_hdf5(
    path: Path,
    small: Sequence[str],
    large: Sequence[str],
    silence: float = SILENCE,
    texts: Sequence[str] = (),
) -> Iterator[NamedArrays]:
    """Open the requested datasets of a file; missing ones are skipped.

    The first dataset of `large` that exists is streamed; those of `small` (numbers) and `texts` are
    read whole. The content of a dataset named in both decides; one that only `texts` names and that
    holds no texts counts as not requested. A process silent for `silence` seconds is killed.

    Raises:
        DataError: Names the file that is damaged, links to other files, or holds no plain numbers
            where numbers are requested.
    """
    command = [sys.executable, "-P", str(Path(__file__).with_name("hdf5_child.py")), str(path)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HDF5_PLUGIN_PATH": "::",  # no folder: HDF5 loads filter plugins that the variable names
        "HDF5_USE_FILE_LOCKING": "FALSE",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    process = subprocess.Popen(
        [*command, *(json.dumps(list(names)) for names in (small, large, texts))],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _Reader(path, process, silence).arrays()
    finally:
        process.kill()
        process.communicate()  # closes the pipes


class _Reader:
    def __init__(self, path: Path, process: subprocess.Popen[bytes], silence: float) -> None:
        self._path, self._process, self._silence = path, process, silence
        self._pipe: Any = process.stdout

    def arrays(self) -> NamedArrays:
        found = NamedArrays()
        while not (facts := self._facts()).get("end"):
            if "others" in facts:
                found.others = self._names(facts["others"])
            elif "sealed" in facts:
                found.sealed = self._names(facts["sealed"])
            elif "texts" in facts:
                found.texts[str(facts["name"])] = self._names(facts["texts"])
            else:
                name, shape = str(facts["name"]), tuple(facts["shape"])
                dtype, streams = np.dtype(facts["dtype"]), bool(facts.get("stream"))
                nbytes = math.prod(shape) * dtype.itemsize
                if not numeric(dtype) or (nbytes > SMALL and not streams):
                    raise self._broken()
                if streams:
                    found.large = Stream(shape, dtype, partial(self._blocks, shape, dtype))
                    break
                found.small[name] = np.frombuffer(self._read(nbytes), dtype).reshape(shape)
        return found

    def _names(self, nbytes: Any) -> tuple[str, ...]:
        """Read a list of texts, stored as `nbytes` bytes of JSON."""
        if not isinstance(nbytes, int) or not 0 <= nbytes <= 8 * TEXTS:
            raise self._broken()
        raw = self._read(nbytes)
        try:
            return tuple(map(str, json.loads(raw)))
        except (ValueError, TypeError):
            raise self._broken() from None

    def _blocks(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        step = rows_per_block(shape, dtype.itemsize)
        for start in range(0, shape[0], step):
            rows = min(step, shape[0] - start)
            raw = self._read(rows * math.prod(shape[1:]) * dtype.itemsize)
            yield np.frombuffer(raw, dtype).reshape(rows, *shape[1:])
        if not self._facts().get("end"):
            raise self._broken()

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        view, done = memoryview(data), 0
        with self._watched():
            while done < count and (got := self._pipe.readinto(view[done : done + (1 << 22)])):
                done += got
        if done < count:
            # The child may report a fault in the middle of the numbers, where it found it.
            raise self._broken(bytes(data[:done][-_LINE:]))
        return data

    def _facts(self) -> dict[str, Any]:
        with self._watched():
            line = self._pipe.readline(_LINE)
        try:
            facts: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._broken(line) from None
        if "fault" in facts:
            raise self._refused(facts)
        return facts

    @contextmanager
    def _watched(self) -> Iterator[None]:
        watch = threading.Timer(self._silence, self._process.kill)
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _refused(self, facts: dict[str, Any]) -> DataError:
        if facts.get("worded"):
            return DataError(f"{self._path}: {facts['fault']}")
        return DataError(
            f"{self._path} is no whole HDF5 file ({facts['fault']}); save or copy it anew"
        )

    def _broken(self, tail: bytes = b"") -> DataError:
        last = tail.rpartition(b'{"fault"')
        if last[1]:
            try:
                return self._refused(json.loads(last[1] + last[2]))
            except ValueError:
                pass
        return DataError(
            f"{self._path} is no whole HDF5 file (its reader broke down on it); save or copy it "
            "anew"
        )
