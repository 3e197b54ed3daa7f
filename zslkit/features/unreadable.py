"""Unreadable images of a dataset: all are reported at once, before long work where possible."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from zslkit import errors
from zslkit.dataset import Dataset, Images
from zslkit.errors import DataError
from zslkit.features.store import images_digest
from zslkit.utils import distributed
from zslkit.utils.files import cache_root, parse_json, read_small, remember
from zslkit.utils.progress import Reporter

NAMED = 5
"""Number of images named in the message."""


def unreadable(
    images: Images, reporter: Reporter, among: Iterable[int] | None = None
) -> dict[int, str]:
    """Decode the images, or those `among` them: index -> fault of each that cannot be opened."""
    chosen = range(len(images)) if among is None else list(among)
    bad: dict[int, str] = {}
    pool = ThreadPoolExecutor(torch.get_num_threads())
    try:
        with reporter.phase("look for images that cannot be read", total=len(chosen)) as phase:
            for index, fault in zip(
                chosen, pool.map(lambda i: _fault(images, i), chosen, chunksize=1), strict=True
            ):
                if fault is not None:
                    bad[index] = fault
                phase.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return bad


def _fault(images: Images, index: int) -> str | None:
    """Fault of one image, None if it opens."""
    try:
        images.open(index)
    except DataError as error:
        return str(error)
    return None


def readable(dataset: Dataset, reporter: Reporter) -> Dataset:
    """Dataset without unreadable images; the same object if all are readable.

    The indices of unreadable images are cached by the content of the images.

    Raises:
        DataError: A part of the split, or a class of test_seen in trainval, has no image left.
    """
    if dataset.images is None:
        return dataset
    # The cache key is a digest of the contents, which missing files do not have.
    missing = _missing(dataset.images)
    images = leaving_out(dataset.images, missing)
    cache_file = cache_root() / "unreadable" / f"{images_digest(images)}.json"
    found = _noted(cache_file, len(images))
    if found is None:
        found = sorted(
            unreadable(images, reporter, [i for i in range(len(images)) if i not in missing])
        )
        remember(cache_file, json.dumps(found))
    bad = sorted({*missing, *found})
    if not bad:
        return dataset
    reporter.note(f"{dataset.name}: {listed(dataset.images, bad)} and are left out")
    try:
        return dataset.without(bad, leaving_out(dataset.images, bad))
    except DataError as error:
        raise DataError(
            f"{error}, after {len(bad)} images that cannot be read were left out; replace some of "
            "them"
        ) from error


def _noted(cache_file: Path, count: int) -> list[int] | None:
    """Cached indices, None if there are none or they are invalid."""
    try:
        found = parse_json(read_small(cache_file))
    except (OSError, ValueError):
        return None
    fits = isinstance(found, list) and all(isinstance(i, int) and 0 <= i < count for i in found)
    return found if fits else None


def _missing(images: Images) -> list[int]:
    """Indices of files that are missing or not readable."""
    file = getattr(images, "file", None)
    if file is None:
        return []

    def there(index: int) -> bool:
        try:
            return os.access(file(index), os.R_OK)
        except DataError:
            return False

    return [i for i in range(len(images)) if not there(i)]


def leaving_out(images: Images, index: Collection[int]) -> Images:
    """Images with the same indices, where those at `index` are not used.

    In the digest they count as empty.
    """
    leave = getattr(images, "leaving_out", None)
    out: Images = leave(index) if leave is not None and len(index) else images
    return out


def content_of(images: Images, reporter: Reporter, skipped: Collection[int] = ()) -> str:
    """Digest of the content of the images, which the processes of one run read once.

    Raises:
        DataError: A file is missing; lists all images that cannot be read.
    """
    with distributed.in_turn():
        try:
            return images_digest(images)
        except DataError:  # a file is missing; `refuse` lists all of them
            refuse(images, reporter, skipped)
            raise


def look(images: Images, reporter: Reporter, skipped: Collection[int] = ()) -> None:
    """Check every file quickly before long work; raises DataError, which lists unreadable ones."""
    whole = getattr(images, "looks_whole", None)
    if whole is None:
        return
    left_out = set(skipped)
    doubtful = [i for i in range(len(images)) if i not in left_out and not whole(i)]
    if doubtful and any(_fault(images, i) for i in doubtful):
        refuse(images, reporter, skipped)


def refuse(images: Images, reporter: Reporter, skipped: Collection[int] = ()) -> None:
    """Decode all images; raises DataError, which lists the unreadable ones but for skipped ones."""
    left_out = set(skipped)
    bad = unreadable(images, reporter, [i for i in range(len(images)) if i not in left_out])
    if bad:
        fault = bad[min(bad)].partition(";")[0]
        fault = fault[:1].lower() + fault[1:]
        raise DataError(
            f"{listed(images, sorted(bad))}: {fault}; replace them, or go on without them "
            "by --skip-bad or --set features.skip_bad=true"
        )


def listed(images: Images, bad: Collection[int]) -> str:
    """Summary such as "3 of 40 images cannot be read (a.jpg, b.jpg, c.jpg)"."""
    names = errors.listed([images.key(i) for i in bad], NAMED)
    return f"{len(bad)} of {len(images)} images cannot be read ({names})"
