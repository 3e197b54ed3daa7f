"""Detection of identical images and near-duplicates.

Near-duplicates: difference hashes (dHash: is a pixel of the 17 x 16 grey thumbnail brighter than
its left neighbour?) that differ in at most NEAR_BITS of 256 bits, and thumbnails that correlate by
at least NEAR_CORRELATION. The hash alone is noise in flat images; the correlation alone is high for
images with a bright centre.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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

_AT_ONCE = 256  # images a block; an interruption waits for the end of its block
_KEEP_EVERY = 8  # blocks between two saves of the progress
_CELLS = 1 << 21  # cells of the matrix of all pairs in memory: 8 MB a matrix, several at a time
CONTRAST = 16
"""Lowest range of levels (of 256) in some channel of an image that shows anything."""


@dataclass
class Scan:
    """Result of one pass over all images, or of its begin."""

    thumbnails: NDArray[np.uint8]  # (N, 16, 17) uint8, grey
    # sha256 of the content of each image so far, None for an unreadable file
    digests: list[str | None] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)  # Image index -> why it cannot be opened
    # Image index -> how more than 8 bits a channel were scaled
    scaled: dict[int, str] = field(default_factory=dict)
    flat: list[int] = field(default_factory=list)  # Indices of images without contrast

    @classmethod
    def of(cls, count: int) -> Scan:
        """A scan of `count` images that has not begun."""
        return cls(np.zeros((count, HEIGHT, WIDTH), dtype=np.uint8))

    def add(self, seen: _ImageResult) -> None:
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


@dataclass(frozen=True)
class _ImageResult:
    """Result for one image."""

    digest: str | None
    thumbnail: NDArray[np.uint8] | None = None
    fault: str = ""
    scaled: str = ""
    flat: bool = False


def scan(images: Images, reporter: Reporter, keep: Path | None = None) -> Scan:
    """Open and fully decode every image once, in one thread for each core.

    The file `keep` saves the progress, so that an interrupted scan resumes; its name identifies the
    state of the images. A damaged file is reported and ignored; a finished scan deletes it.
    """
    progress = _resumed(keep, len(images), reporter)
    with (
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        reporter.phase("open every image", len(images)) as phase,
    ):
        phase.advance(len(progress.digests))
        for start in range(len(progress.digests), len(images), _AT_ONCE):
            index = range(start, min(start + _AT_ONCE, len(images)))
            for seen in pool.map(lambda i: _look(images, i), index):
                progress.add(seen)
            if keep is not None and (start // _AT_ONCE) % _KEEP_EVERY == _KEEP_EVERY - 1:
                _keep(keep, progress)
            phase.advance(len(index))
    if keep is not None:
        keep.unlink(missing_ok=True)
    return progress


def _keep(file: Path, progress: Scan) -> None:
    """Save the progress."""
    facts = {
        "digests": progress.digests,
        "faults": [*progress.faults.items()],
        "scaled": [*progress.scaled.items()],
        "flat": progress.flat,
    }
    note = json.dumps(facts).encode()
    with contextlib.suppress(OSError):  # without a writable cache, the scan cannot resume
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside, beside.open("wb") as stream:
            seen = progress.thumbnails[: len(progress.digests)]
            np.savez(stream, note=np.frombuffer(note, dtype=np.uint8), thumbnails=seen)


def _resumed(file: Path | None, count: int, reporter: Reporter) -> Scan:
    """Progress of an interrupted scan, or a new one."""
    if file is None or not file.is_file():
        return Scan.of(count)
    try:
        return _kept(file, count)
    except Exception as error:  # a damaged archive raises errors of any type
        reason = str(error) or type(error).__name__
        reporter.note(
            f"What an interrupted look at the images left in {file} is damaged ({reason}); all of "
            "them are opened anew"
        )
        return Scan.of(count)


def _kept(file: Path, count: int) -> Scan:
    """Load saved progress."""
    with np.load(file, allow_pickle=False) as kept:
        note, done = json.loads(kept["note"].tobytes()), kept["thumbnails"]
    progress = Scan.of(count)
    progress.digests = [*note["digests"]]
    progress.faults, progress.scaled = (
        {int(i): str(text) for i, text in note[key]} for key in ("faults", "scaled")
    )
    progress.flat = [int(i) for i in note["flat"]]
    n = len(progress.digests)
    indices = (*progress.faults, *progress.scaled, *progress.flat)
    fits = n <= count and done.dtype == np.uint8 and done.shape == (n, HEIGHT, WIDTH)
    texts = all(digest is None or isinstance(digest, str) for digest in progress.digests)
    if not fits or not texts or not all(0 <= i < n for i in indices):
        raise ValueError("its parts do not fit together")
    progress.thumbnails[:n] = done
    return progress


def _look(images: Images, i: int) -> _ImageResult:
    """Open one image."""
    from PIL.Image import Resampling

    digest: str | None = None
    # Files are compared by their bytes, images in memory by their pixels.
    file = getattr(images, "file", None)
    try:
        if file is not None:
            digest = hashlib.sha256(Path(file(i)).read_bytes()).hexdigest()
        image = images.open(i)
        if file is None:
            digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        thumbnail = np.asarray(image.convert("L").resize((WIDTH, HEIGHT), Resampling.BOX))
        low, high = np.reshape(image.getextrema(), (-1, 2)).T
        flat = bool((high - low).max() < CONTRAST)
        return _ImageResult(digest, thumbnail, scaled=str(image.info.get(SCALED, "")), flat=flat)
    except DataError as error:
        fault = str(error)
    except OSError as error:
        reason = error.strerror or error
        fault = f"The image {images.key(i)} cannot be read ({reason}); check its permissions"
    except Exception as error:  # the images of a plugin may raise errors of any type
        fault = f"The image {images.key(i)} cannot be opened ({type(error).__name__}: {error})"
    return _ImageResult(digest, fault=fault)


def identical(digests: Sequence[str | None]) -> list[list[int]]:
    """Groups of two or more images with the same digest, each in ascending order."""
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(digests):
        if digest is not None:
            groups.setdefault(digest, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def dhash(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Bits (N, 256) of thumbnails (N, 16, 17): is a pixel brighter than its left neighbour?"""
    return (thumbnails[:, :, 1:] > thumbnails[:, :, :-1]).reshape(len(thumbnails), BITS)


def near(
    thumbnails: NDArray[np.uint8], without: Sequence[int] = ()
) -> Iterator[tuple[Index, Index, Index]]:
    """Find all pairs of near-duplicates among thumbnails (N, 16, 17).

    All pairs are compared by matrix products, in blocks, so that memory grows with N only; 40,000
    images take 8e11 operations. An image without contrast has no near-duplicates.

    Args:
        without: Indices of images to ignore, such as unreadable ones.

    Yields:
        Blocks of pairs: first indices, second indices, number of different bits.
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
        close = np.triu(product >= BITS - 2 * NEAR_BITS, 1)
        rows = np.flatnonzero(close.any(axis=1))
        close = close[rows] & (small[start + rows] @ small[start:].T >= NEAR_CORRELATION)
        row, column = np.nonzero(close)
        far = ((BITS - product[rows[row], column]) / 2).round().astype(np.int64)
        yield kept[start + rows[row]], kept[start + column], far
