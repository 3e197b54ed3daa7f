"""Images that are the same: to the byte, or to the eye.

Two images count as near-duplicates if their difference hashes (dHash: is a pixel of the 17 x 16 grey thumbnail brighter
than its left neighbour?) differ in at most NEAR_BITS of 256 bits and the thumbnails correlate by NEAR_CORRELATION or more.
The hash alone is noise where an image is flat, the correlation alone where two images share a bright middle.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Images
from zslkit.errors import DataError
from zslkit.files import replacing
from zslkit.progress import Reporter

WIDTH, HEIGHT = 17, 16
BITS = (WIDTH - 1) * HEIGHT
NEAR_BITS = 48
NEAR_CORRELATION = 0.9

_AT_ONCE = 256  # images handed to the threads together: so long an interruption may have to wait
_KEEP_EVERY = 8  # such stretches between two notes of what is done
_ROWS = 512  # of the matrix of all pairs that are in memory together


@dataclass(frozen=True)
class Scan:
    """One pass over all images. digests (N,): sha256 of the content, None where there is none to read.

    thumbnails (N, 16, 17) uint8, grey. faults: image index -> why it cannot be opened.
    """

    digests: tuple[str | None, ...]
    thumbnails: NDArray[np.uint8]
    faults: dict[int, str]


@dataclass(frozen=True)
class Pair:
    """Two images, by index; bits: in how many of 256 bits their hashes differ."""

    first: int
    second: int
    bits: int


def scan(images: Images, reporter: Reporter, keep: Path | None = None) -> Scan:
    """Open every image once, decoded whole, by as many threads as there are cores.

    keep: a file, named after the state of the images, that holds what is done while the scan is under way, so that an interrupted
    one goes on; a finished scan leaves none, since the next one is asked to look again. A file that is damaged is told and counts for none.
    """
    digests, thumbnails, faults = _resumed(keep, len(images), reporter)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, reporter.phase("open every image", len(images)) as phase:
        phase.advance(len(digests))
        for start in range(len(digests), len(images), _AT_ONCE):
            index = range(start, min(start + _AT_ONCE, len(images)))
            for i, (digest, thumbnail, fault) in zip(index, pool.map(lambda i: _look(images, i), index), strict=True):
                digests.append(digest)
                if thumbnail is not None:
                    thumbnails[i] = thumbnail
                if fault:
                    faults[i] = fault
            if keep is not None and (start // _AT_ONCE) % _KEEP_EVERY == _KEEP_EVERY - 1:
                _keep(keep, digests, thumbnails, faults)
            phase.advance(len(index))
    if keep is not None:
        keep.unlink(missing_ok=True)
    return Scan(tuple(digests), thumbnails, faults)


def _keep(file: Path, digests: list[str | None], thumbnails: NDArray[np.uint8], faults: dict[int, str]) -> None:
    note = json.dumps({"digests": digests, "faults": list(faults.items())}).encode()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs the resuming, not the scan
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside, beside.open("wb") as stream:
            np.savez(stream, note=np.frombuffer(note, dtype=np.uint8), thumbnails=thumbnails[: len(digests)])


def _resumed(file: Path | None, count: int, reporter: Reporter) -> tuple[list[str | None], NDArray[np.uint8], dict[int, str]]:
    thumbnails = np.zeros((count, HEIGHT, WIDTH), dtype=np.uint8)
    if file is None or not file.is_file():
        return [], thumbnails, {}
    try:
        digests, done, faults = _kept(file, count)
    except Exception as error:  # what reads a damaged archive may raise anything
        reason = str(error) or type(error).__name__
        reporter.note(f"What an interrupted look at the images left in {file} is damaged ({reason}); all of them are opened anew")
        return [], thumbnails, {}
    thumbnails[: len(done)] = done
    return digests, thumbnails, faults


def _kept(file: Path, count: int) -> tuple[list[str | None], NDArray[np.uint8], dict[int, str]]:
    with np.load(file, allow_pickle=False) as kept:
        note, done = json.loads(kept["note"].tobytes()), kept["thumbnails"]
    digests, faults = [*note["digests"]], {int(i): str(fault) for i, fault in note["faults"]}
    n = len(digests)
    whole = n <= count and done.dtype == np.uint8 and done.shape == (n, HEIGHT, WIDTH) and all(0 <= i < n for i in faults)
    if not whole or not all(digest is None or isinstance(digest, str) for digest in digests):
        raise ValueError("its parts do not fit together")
    return digests, done, faults


def _look(images: Images, i: int) -> tuple[str | None, NDArray[np.uint8] | None, str]:
    from PIL.Image import Resampling

    digest: str | None = None
    file = getattr(images, "file", None)  # where images are files, their bytes are compared, else their pixels
    try:
        if file is not None:
            digest = hashlib.sha256(Path(file(i)).read_bytes()).hexdigest()
        image = images.open(i)
        if file is None:
            digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        return digest, np.asarray(image.convert("L").resize((WIDTH, HEIGHT), Resampling.BOX)), ""
    except DataError as error:
        return digest, None, str(error)
    except OSError as error:
        return digest, None, f"The image {images.key(i)} cannot be read ({error.strerror or error}); check its permissions"
    except Exception as error:  # the images of a stranger's dataset may raise anything
        return digest, None, f"The image {images.key(i)} cannot be opened ({type(error).__name__}: {error})"


def identical(digests: Sequence[str | None]) -> list[list[int]]:
    """Groups of two or more images with the same content, each in rising order."""
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(digests):
        if digest is not None:
            groups.setdefault(digest, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def dhash(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N, 256) bits from thumbnails (N, 16, 17): whether a pixel is brighter than its left neighbour."""
    return (thumbnails[:, :, 1:] > thumbnails[:, :, :-1]).reshape(len(thumbnails), -1)


def near(
    thumbnails: NDArray[np.uint8], without: Sequence[int] = (), bits: int = NEAR_BITS, correlation: float = NEAR_CORRELATION
) -> list[Pair]:
    """All pairs of near-duplicates, nearest first. without: images that are left out, such as those that cannot be opened.

    A flat image resembles none. All pairs are compared, by matrix products: 40 000 images take 8e11 operations.
    """
    kept = np.setdiff1d(np.arange(len(thumbnails)), np.asarray(without, dtype=np.int64))
    small = thumbnails[kept].reshape(len(kept), -1).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    small /= np.maximum(length, 1e-6)
    signs = np.where(dhash(thumbnails[kept]), np.float32(1), np.float32(-1))
    found = [
        Pair(int(kept[i]), int(kept[j]), int(d))
        for left, right, far in _below(signs, bits)
        for i, j, d, c in zip(left, right, far, np.einsum("nd,nd->n", small[left], small[right]), strict=True)
        if c >= correlation
    ]
    return sorted(found, key=lambda pair: (pair.bits, pair.first, pair.second))


def _below(signs: NDArray[np.float32], bits: int) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Blocks of (i, j, distance) with i < j and a distance of `bits` or less: for signs +-1 the product is 256 - 2 * distance."""
    width = signs.shape[1]
    for start in range(0, len(signs), _ROWS):
        product = signs[start : start + _ROWS] @ signs[start:].T
        rows, columns = np.nonzero(product >= width - 2 * bits)
        later = columns > rows
        rows, columns = rows[later], columns[later]
        yield rows + start, columns + start, ((width - product[rows, columns]) / 2).round()
