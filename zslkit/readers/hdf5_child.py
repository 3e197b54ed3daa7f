"""The process that reads an HDF5 file for `zslkit.readers.hdf5`: what the library does with a hostile file ends here.

It is started with the path and, as JSON lists, the names of small datasets, those one of which is the large one, and those of
lists of texts. It writes frames to standard output, each a line of JSON and bytes:

- {"others": bytes}: a JSON list of all names in the file that were not asked for.
- {"sealed": bytes}: a JSON list of lists of texts that hold other objects.
- {"name", "texts": bytes}: a JSON list of texts.
- {"name", "shape", "dtype"}: an array; small ones first, then the large one with its rows in order.
- {"fault": ...} instead says why the file is refused.

Nothing of zslkit is imported.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import sys
import threading
from typing import Any

MEMORY = 1 << 30
"""Bytes this process may take for itself."""
BLOCK = 64 << 20
LARGEST_CHUNK = 256 << 20
SMALL = 256 << 20
TEXTS = 16 << 20
MOST_NAMES = 50
BOMB_RATIO, BOMB_FLOOR = 200, 64 << 20


class Refused(Exception):
    pass


def main(path: str, small: list[str], large: list[str], texts: list[str]) -> None:
    _limit()
    _end_with_parent()
    out = sys.stdout.buffer
    try:
        import h5py

        with h5py.File(path, "r") as file:
            size = os.path.getsize(path)
            words = {name: held for name in texts if (held := _texts(h5py, file, name)) is not None}
            sealed = [
                name for name in texts if name not in words and _holds_objects(h5py, file, name)
            ]
            asked = [name for name in [*small, *large] if name not in words]
            found = {
                name: dataset
                for name in asked
                if (dataset := _dataset(h5py, file, name, size)) is not None
            }
            chosen = next((name for name in large if name in found), None)
            read = {*words, *small, *([] if chosen is None else [chosen])}
            others = [name for name in itertools.islice(file, MOST_NAMES) if name not in read]
            _list(
                out,
                [name + "/" * _is_group(h5py, file, name) for name in others],
                name=None,
                of="others",
            )
            _list(out, sealed, name=None, of="sealed")
            for name, held in words.items():
                _list(out, held, name=name, of="texts")
            for name in small:
                if name in found:
                    array = _small(name, found[name])
                    _say(out, name=name, shape=array.shape, dtype=array.dtype.str)
                    out.write(array.tobytes())
            if chosen is not None:
                _stream(out, chosen, found[chosen])
            _say(out, end=True)
    except Refused as error:
        _say(out, fault=str(error), said=True)
    except MemoryError:
        _say(out, fault="reading it takes more memory than any such file needs")
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # a damaged file makes the library raise nearly anything
        _say(out, fault=" ".join(str(error).split())[:300] or type(error).__name__)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # no such limits on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        most = MEMORY if limit == resource.RLIMIT_DATA else 16 * MEMORY
        hard = resource.getrlimit(limit)[1]
        try:
            resource.setrlimit(
                limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
            )
        except (ValueError, OSError):  # a system that knows no such limit
            continue


def _end_with_parent() -> None:
    """Standard input is a pipe that the parent holds open and writes nothing to."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if (
        sys.platform == "linux"
    ):  # the library may be caught in a loop of its own, where no other thread of Python moves
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _say(out: Any, **facts: Any) -> None:
    out.write(json.dumps(facts).encode() + b"\n")
    out.flush()


def _dataset(h5py: Any, file: Any, name: str, size: int) -> Any:
    """The dataset of that name, if it is there and is nothing but numbers of this very file."""
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
    if (
        dataset.shape is None
        or dataset.dtype.kind not in "biuf"
        or dataset.dtype.itemsize > 8
        or dataset.dtype.subdtype is not None
    ):
        what = (
            "objects or texts of any length"
            if dataset.dtype.kind == "O"
            else f"{dataset.dtype}"[:60]
        )
        raise Refused(f"{name} holds {what}, and plain numbers are needed")
    nbytes, stored = (
        math.prod(dataset.shape) * dataset.dtype.itemsize,
        min(dataset.id.get_storage_size(), size),
    )
    if nbytes > BOMB_FLOOR and nbytes > BOMB_RATIO * stored:
        raise Refused(
            f"{name} claims {nbytes / 1e6:,.0f} MB and the file holds {stored / 1e6:,.3g} MB of it; no features shrink that much"
        )
    if (
        dataset.chunks is not None
        and math.prod(dataset.chunks) * dataset.dtype.itemsize > LARGEST_CHUNK
    ):
        raise Refused(
            f"{name} is kept in chunks over {LARGEST_CHUNK / 1e6:.0f} MB; write it again with smaller ones"
        )
    return dataset


def _list(out: Any, texts: list[str], name: str | None, of: str) -> None:
    raw = json.dumps([text.encode("utf-8", "replace").decode() for text in texts]).encode()
    _say(out, **({} if name is None else {"name": name}), **{of: len(raw)})
    out.write(raw)


def _texts(h5py: Any, file: Any, name: str) -> list[str] | None:
    """The texts of the dataset of that name; None if there is no such dataset of this very file, or it holds something else."""
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        return None
    dataset = file[name]
    if (
        not isinstance(dataset, h5py.Dataset)
        or dataset.is_virtual
        or dataset.external
        or not dataset.shape
    ):
        return None
    if h5py.check_string_dtype(dataset.dtype) is None:
        return None
    count = math.prod(dataset.shape)
    if count * max(1, dataset.dtype.itemsize) > TEXTS:
        raise Refused(f"{name} claims {count:,} texts, too many for names")
    held, left = [], TEXTS
    for text in dataset[()].ravel().tolist():
        one = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        left -= len(one) + 8
        if left < 0:
            raise Refused(f"{name} holds over {TEXTS / 1e6:.0f} MB of texts, too much for names")
        held.append(one.rstrip("\0"))
    return held


def _is_group(h5py: Any, file: Any, name: str) -> bool:
    return (
        isinstance(file.get(name, getlink=True), h5py.HardLink)
        and file.get(name, getclass=True) is h5py.Group
    )


def _holds_objects(h5py: Any, file: Any, name: str) -> bool:
    """Whether a dataset of that name holds references or the like, as MATLAB 7.3 writes a cell array."""
    held = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    return isinstance(held, h5py.Dataset) and held.dtype.kind == "O"


def _small(name: str, dataset: Any) -> Any:
    if math.prod(dataset.shape) * dataset.dtype.itemsize > SMALL:
        raise Refused(f"{name} takes over {SMALL / 1e6:.0f} MB, too much for what it should be")
    array = dataset[()]
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _stream(out: Any, name: str, dataset: Any) -> None:
    import numpy as np

    dtype = np.dtype(dataset.dtype).newbyteorder("<")
    _say(out, name=name, shape=dataset.shape, dtype=dtype.str, stream=True)
    if not dataset.shape:
        raise Refused(f"{name} is a single number")
    row = math.prod(dataset.shape[1:]) * dtype.itemsize
    chunk = dataset.chunks[0] if dataset.chunks else 1
    # Whole chunks at once, so that each is unpacked once; the last resort are chunks that are unpacked several times.
    rows = (
        max(1, BLOCK // max(1, row) // chunk * chunk)
        if chunk * row <= BLOCK
        else chunk
        if chunk * row <= LARGEST_CHUNK
        else 1
    )
    for start in range(0, dataset.shape[0], rows):
        block = np.ascontiguousarray(dataset[start : start + rows], dtype=dtype)
        out.write(block.data.cast("B") if block.size else b"")
        del block


if __name__ == "__main__":
    main(sys.argv[1], *map(json.loads, sys.argv[2:5]))
