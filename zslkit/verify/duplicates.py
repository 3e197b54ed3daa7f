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

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Images, Index
from zslkit.errors import DataError
from zslkit.readers.depth import SCALED
from zslkit.utils.files import replacing
from zslkit.utils.progress import Reporter

WIDTH, HEIGHT = 17, 16
BITS = (WIDTH - 1) * HEIGHT
NEAR_BITS = 48
NEAR_CORRELATION = 0.9

_AT_ONCE = 256  # images handed to the threads together: so long an interruption may have to wait
_KEEP_EVERY = 8  # such stretches between two notes of what is done
_CELLS = (
    1 << 21
)  # of the matrix of all pairs that are in memory together: 8 MB, and some times that while they are looked through
CONTRAST = 16
"""Levels of 256 that the darkest and the lightest pixel of an image are apart at least, in one channel, if it shows anything."""


@dataclass(frozen=True)
class Scan:
    """One pass over all images. digests (N,): sha256 of the content, None where there is none to read.

    thumbnails (N, 16, 17) uint8, grey. faults: image index -> why it cannot be opened. scaled: image index -> how its numbers
    of more than 8 bits were read. flat: images without contrast.
    """

    digests: tuple[str | None, ...]
    thumbnails: NDArray[np.uint8]
    faults: dict[int, str]
    scaled: dict[int, str]
    flat: tuple[int, ...]


@dataclass(frozen=True)
class _Look:
    """One image of a scan."""

    digest: str | None
    thumbnail: NDArray[np.uint8] | None = None
    fault: str = ""
    scaled: str = ""
    flat: bool = False


class _Looks:
    """What a scan of `count` images has seen so far."""

    def __init__(self, count: int) -> None:
        self.digests: list[str | None] = []
        self.thumbnails = np.zeros((count, HEIGHT, WIDTH), dtype=np.uint8)
        self.faults: dict[int, str] = {}
        self.scaled: dict[int, str] = {}
        self.flat: list[int] = []

    def add(self, seen: _Look) -> None:
        i = len(self.digests)
        self.digests.append(seen.digest)
        if seen.thumbnail is not None:
            self.thumbnails[i] = seen.thumbnail
        if seen.fault:
            self.faults[i] = seen.fault
        if seen.scaled:
            self.scaled[i] = seen.scaled
        if seen.flat:
            self.flat.append(i)

    def scan(self) -> Scan:
        return Scan(
            tuple(self.digests), self.thumbnails, self.faults, self.scaled, tuple(self.flat)
        )


def scan(images: Images, reporter: Reporter, keep: Path | None = None) -> Scan:
    """Open every image once, decoded whole, by as many threads as there are cores.

    keep: a file, named after the state of the images, that holds what is done while the scan is under way, so that an interrupted
    one goes on; a finished scan leaves none, since the next one is asked to look again. A file that is damaged is told and counts for none.
    """
    looks = _resumed(keep, len(images), reporter)
    with (
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        reporter.phase("open every image", len(images)) as phase,
    ):
        phase.advance(len(looks.digests))
        for start in range(len(looks.digests), len(images), _AT_ONCE):
            index = range(start, min(start + _AT_ONCE, len(images)))
            for seen in pool.map(lambda i: _look(images, i), index):
                looks.add(seen)
            if keep is not None and (start // _AT_ONCE) % _KEEP_EVERY == _KEEP_EVERY - 1:
                _keep(keep, looks)
            phase.advance(len(index))
    if keep is not None:
        keep.unlink(missing_ok=True)
    return looks.scan()


def _keep(file: Path, looks: _Looks) -> None:
    facts = {
        "digests": looks.digests,
        "faults": [*looks.faults.items()],
        "scaled": [*looks.scaled.items()],
        "flat": looks.flat,
    }
    note = json.dumps(facts).encode()
    with contextlib.suppress(
        OSError
    ):  # a cache that cannot be written costs the resuming, not the scan
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside, beside.open("wb") as stream:
            np.savez(
                stream,
                note=np.frombuffer(note, dtype=np.uint8),
                thumbnails=looks.thumbnails[: len(looks.digests)],
            )


def _resumed(file: Path | None, count: int, reporter: Reporter) -> _Looks:
    if file is None or not file.is_file():
        return _Looks(count)
    try:
        return _kept(file, count)
    except Exception as error:  # what reads a damaged archive may raise anything
        reason = str(error) or type(error).__name__
        reporter.note(
            f"What an interrupted look at the images left in {file} is damaged ({reason}); all of them are opened anew"
        )
        return _Looks(count)


def _kept(file: Path, count: int) -> _Looks:
    with np.load(file, allow_pickle=False) as kept:
        note, done = json.loads(kept["note"].tobytes()), kept["thumbnails"]
    looks = _Looks(count)
    looks.digests = [*note["digests"]]
    looks.faults, looks.scaled = (
        {int(i): str(said) for i, said in note[key]} for key in ("faults", "scaled")
    )
    looks.flat = [int(i) for i in note["flat"]]
    n = len(looks.digests)
    told = (*looks.faults, *looks.scaled, *looks.flat)
    whole = (
        n <= count
        and done.dtype == np.uint8
        and done.shape == (n, HEIGHT, WIDTH)
        and all(0 <= i < n for i in told)
    )
    if not whole or not all(digest is None or isinstance(digest, str) for digest in looks.digests):
        raise ValueError("its parts do not fit together")
    looks.thumbnails[:n] = done
    return looks


def _look(images: Images, i: int) -> _Look:
    from PIL.Image import Resampling

    digest: str | None = None
    file = getattr(
        images, "file", None
    )  # where images are files, their bytes are compared, else their pixels
    try:
        if file is not None:
            digest = hashlib.sha256(Path(file(i)).read_bytes()).hexdigest()
        image = images.open(i)
        if file is None:
            digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        thumbnail = np.asarray(image.convert("L").resize((WIDTH, HEIGHT), Resampling.BOX))
        span = max(
            high - low
            for low, high in zip(*[iter(np.ravel(image.getextrema()).tolist())] * 2, strict=True)
        )
        return _Look(
            digest, thumbnail, scaled=str(image.info.get(SCALED, "")), flat=span < CONTRAST
        )
    except DataError as error:
        return _Look(digest, fault=str(error))
    except OSError as error:
        return _Look(
            digest,
            fault=f"The image {images.key(i)} cannot be read ({error.strerror or error}); check its permissions",
        )
    except Exception as error:  # the images of a stranger's dataset may raise anything
        return _Look(
            digest,
            fault=f"The image {images.key(i)} cannot be opened ({type(error).__name__}: {error})",
        )


def identical(digests: Sequence[str | None]) -> list[list[int]]:
    """Groups of two or more images with the same content, each in rising order."""
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(digests):
        if digest is not None:
            groups.setdefault(digest, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def dhash(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N, 256) bits from thumbnails (N, 16, 17): whether a pixel is brighter than its left neighbour."""
    return (thumbnails[:, :, 1:] > thumbnails[:, :, :-1]).reshape(len(thumbnails), BITS)


def near(
    thumbnails: NDArray[np.uint8],
    without: Sequence[int] = (),
    bits: int = NEAR_BITS,
    correlation: float = NEAR_CORRELATION,
) -> Iterator[tuple[Index, Index, Index]]:
    """All pairs of near-duplicates in blocks of (first, second, bits), so that memory grows with the images and not with the pairs.

    without: images that are left out, such as those that cannot be opened. bits: in how many of 256 their hashes differ.

    A flat image resembles none. All pairs are compared, by matrix products: 40 000 images take 8e11 operations.
    """
    kept = np.setdiff1d(np.arange(len(thumbnails)), np.asarray(without, dtype=np.int64))
    kept = kept[np.ptp(thumbnails[kept].reshape(len(kept), WIDTH * HEIGHT), axis=1) > 0]
    small = thumbnails[kept].reshape(len(kept), WIDTH * HEIGHT).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    signs = np.where(dhash(thumbnails[kept]), np.float32(1), np.float32(-1))
    step = max(1, _CELLS // max(len(kept), 1))
    for start in range(0, len(kept), step):
        # For signs +-1 the product is 256 - 2 * distance.
        product = signs[start : start + step] @ signs[start:].T
        close = np.triu(product >= BITS - 2 * bits, 1)
        rows = np.flatnonzero(close.any(axis=1))
        close = close[rows] & (small[start + rows] @ small[start:].T >= correlation)
        row, column = np.nonzero(close)
        far = ((BITS - product[rows[row], column]) / 2).round().astype(np.int64)
        yield kept[start + rows[row]], kept[start + column], far
