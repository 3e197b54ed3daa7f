"""Process that reads an HDF5 file for `zslkit.readers.hdf5`, so that a crash stays in this process.

Arguments: the path, and three JSON lists of names: small datasets, candidates for the large
dataset (the first that exists is read), and lists of texts. Output: frames on standard output,
each a line of JSON, followed by bytes where it announces any:

- {"others": bytes}: JSON list of all names in the file that were not requested.
- {"sealed": bytes}: JSON list of the requested lists of texts that hold objects.
- {"name", "texts": bytes}: JSON list of texts.
- {"name", "shape", "dtype"}: an array; small arrays first, then the large array row by row.
- {"fault", "worded"}: why the file is refused, at any point; the text is zslkit's if worded.
- {"end": true}: end of the output.

This module does not import zslkit.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import signal
import sys
import threading
from typing import Any

import h5py
import numpy as np

MEMORY = 1 << 30
"""Memory limit of this process in bytes."""
BLOCK = 64 << 20
LARGEST_CHUNK = 256 << 20
SMALL = 256 << 20
TEXTS = 16 << 20
MOST_NAMES = 50
BOMB_RATIO, BOMB_FLOOR = 200, 64 << 20


class Refused(Exception):
    """A fault of the file, worded for the user."""


def main(path: str, small: list[str], large: list[str], texts: list[str]) -> None:
    _limit()
    _end_with_parent()
    out = sys.stdout.buffer
    try:
        with h5py.File(path, "r") as file:
            size = os.path.getsize(path)
            lists = {name: list_ for name in texts if (list_ := _texts(file, name)) is not None}
            sealed = [name for name in texts if name not in lists and _holds_objects(file, name)]
            found = {
                name: dataset
                for name in [*small, *large]
                if name not in lists and (dataset := _dataset(file, name, size)) is not None
            }
            chosen = next((name for name in large if name in found), None)
            read = {*lists, *small, chosen}
            others = [name for name in itertools.islice(file, MOST_NAMES) if name not in read]
            _list(out, "others", [name + "/" * _is_group(file, name) for name in others])
            _list(out, "sealed", sealed)
            for name, list_ in lists.items():
                _list(out, "texts", list_, name=name)
            for name in small:
                if name in found:
                    array = _small(name, found[name])
                    _write(out, name=name, shape=array.shape, dtype=array.dtype.str)
                    out.write(array.tobytes())
            if chosen is not None:
                _stream(out, chosen, found[chosen])
            _write(out, end=True)
    except Refused as error:
        _write(out, fault=str(error), worded=True)
    except MemoryError:
        _write(out, fault="reading it takes more memory than any such file needs")
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # a damaged file makes the library raise errors of any type
        _write(out, fault=" ".join(str(error).split())[:300] or type(error).__name__)


def _limit() -> None:
    """Limit the memory of this process and switch core dumps off."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        most = MEMORY if limit == resource.RLIMIT_DATA else 16 * MEMORY
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # the system does not support this limit
            resource.setrlimit(limit, (most, hard))


def _end_with_parent() -> None:
    """End this process when the parent closes standard input, to which it writes nothing."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux":  # while the library loops in C, no other Python thread runs
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _write(out: Any, **facts: Any) -> None:
    out.write(json.dumps(facts).encode() + b"\n")
    out.flush()


def _dataset(file: Any, name: str, size: int) -> Any:
    """Get the dataset `name` of a file of `size` bytes, None if it does not exist.

    Raises:
        Refused: It is a link, is stored in other files, holds anything but plain numbers, or claims
            far more bytes than are stored.
    """
    link = file.get(name, getlink=True)
    if link is None:
        return None
    if isinstance(link, h5py.ExternalLink):
        raise Refused(
            f"{name} is a link to another file ({link.filename!r}); copy the numbers into this one"
        )
    if not isinstance(link, h5py.HardLink):
        raise Refused(f"{name} is a link and no dataset; copy the numbers there")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"{name} is a {type(dataset).__name__.lower()} and no dataset")
    if dataset.is_virtual or dataset.external:
        raise Refused(f"{name} is kept in other files; copy the numbers into this one")
    dtype = dataset.dtype
    plain = dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.subdtype is None
    if dataset.shape is None or not plain:
        what = "objects or texts of any length" if dtype.kind == "O" else f"{dtype}"[:60]
        raise Refused(f"{name} holds {what}, and plain numbers are needed")
    nbytes = math.prod(dataset.shape) * dtype.itemsize
    stored = min(dataset.id.get_storage_size(), size)
    if nbytes > BOMB_FLOOR and nbytes > BOMB_RATIO * stored:
        raise Refused(
            f"{name} claims {nbytes / 1e6:,.0f} MB and the file holds {stored / 1e6:,.3g} MB of "
            "it; no features shrink that much"
        )
    if math.prod(dataset.chunks or (0,)) * dtype.itemsize > LARGEST_CHUNK:
        raise Refused(
            f"{name} is kept in chunks over {LARGEST_CHUNK / 1e6:.0f} MB; write it again with "
            "smaller ones"
        )
    return dataset


def _list(out: Any, of: str, texts: list[str], **facts: str) -> None:
    """Write a frame with a list of texts under the key `of`."""
    raw = json.dumps([text.encode("utf-8", "replace").decode() for text in texts]).encode()
    _write(out, **facts, **{of: len(raw)})
    out.write(raw)


def _linked(file: Any, name: str) -> bool:
    return isinstance(file.get(name, getlink=True), h5py.HardLink)


def _texts(file: Any, name: str) -> list[str] | None:
    """Texts of the dataset `name`, None if there is none; raises Refused if they are too many."""
    dataset = file[name] if _linked(file, name) else None
    if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
        return None
    if dataset.is_virtual or dataset.external or h5py.check_string_dtype(dataset.dtype) is None:
        return None
    count = math.prod(dataset.shape)
    if count * max(1, dataset.dtype.itemsize) > TEXTS:
        raise Refused(f"{name} claims {count:,} texts, too many for names")
    found, budget = [], TEXTS
    for text in dataset[()].ravel().tolist():
        decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        budget -= len(decoded) + 8
        if budget < 0:
            raise Refused(f"{name} holds over {TEXTS / 1e6:.0f} MB of texts, too much for names")
        found.append(decoded.rstrip("\0"))
    return found


def _is_group(file: Any, name: str) -> bool:
    return _linked(file, name) and file.get(name, getclass=True) is h5py.Group


def _holds_objects(file: Any, name: str) -> bool:
    """Whether a dataset holds object references, as MATLAB 7.3 writes for a cell array."""
    item = file[name] if _linked(file, name) else None
    return isinstance(item, h5py.Dataset) and item.dtype.kind == "O"


def _small(name: str, dataset: Any) -> Any:
    if math.prod(dataset.shape) * dataset.dtype.itemsize > SMALL:
        raise Refused(f"{name} takes over {SMALL / 1e6:.0f} MB, too much for what it should be")
    array = dataset[()]
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _stream(out: Any, name: str, dataset: Any) -> None:
    dtype = np.dtype(dataset.dtype).newbyteorder("<")
    _write(out, name=name, shape=dataset.shape, dtype=dtype.str, stream=True)
    if not dataset.shape:
        raise Refused(f"{name} is a single number")
    row = math.prod(dataset.shape[1:]) * dtype.itemsize
    chunk = dataset.chunks[0] if dataset.chunks else 1
    # Blocks of whole chunks decompress each chunk once; larger chunks are decompressed repeatedly.
    rows = chunk if chunk * row <= LARGEST_CHUNK else 1
    if chunk * row <= BLOCK:
        rows = max(1, BLOCK // max(1, row) // chunk * chunk)
    for start in range(0, dataset.shape[0], rows):
        block = np.ascontiguousarray(dataset[start : start + rows], dtype=dtype)
        out.write(block.data.cast("B") if block.size else b"")
        del block


if __name__ == "__main__":
    main(sys.argv[1], *map(json.loads, sys.argv[2:5]))
