"""Which images of a dataset cannot be read: all of them are told at once, and before the work where that is cheap."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from zslkit import errors
from zslkit.dataset import Dataset, Images
from zslkit.errors import DataError
from zslkit.features.store import cache_root, images_digest, remember
from zslkit.utils import distributed
from zslkit.utils.files import parse_json, read_small
from zslkit.utils.progress import Reporter

NAMED = 5
"""How many are named in the sentence that counts them."""


def unreadable(
    images: Images, reporter: Reporter, among: Iterable[int] | None = None
) -> dict[int, str]:
    """Index -> what is wrong, for every image that cannot be opened. Decodes all of `among` (default: all images)."""
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
    try:
        images.open(index)
    except DataError as error:
        return str(error)
    return None


def readable(dataset: Dataset, reporter: Reporter) -> Dataset:
    """The dataset without the images that cannot be read; the same one if all can. Which they are is remembered by content.

    Raises DataError if a part of the split, or a class of test_seen in trainval, has no image left.
    """
    if dataset.images is None:
        return dataset
    # A file that is not there has no content to remember anything by.
    lost = _lost(dataset.images)
    images = leaving_out(dataset.images, lost)
    note = cache_root() / "unreadable" / f"{images_digest(images)}.json"
    found = _noted(note, len(images))
    if found is None:
        found = sorted(
            unreadable(images, reporter, [i for i in range(len(images)) if i not in lost])
        )
        remember(note, json.dumps(found))
    bad = sorted({*lost, *found})
    if not bad:
        return dataset
    reporter.note(f"{dataset.name}: {listed(dataset.images, bad)} and are left out")
    try:
        return dataset.without(bad, leaving_out(dataset.images, bad))
    except DataError as error:
        raise DataError(
            f"{error}, after {len(bad)} images that cannot be read were left out; replace some of them"
        ) from error


def _noted(note: Path, count: int) -> list[int] | None:
    try:
        found = parse_json(read_small(note))
    except (OSError, ValueError):
        return None
    fits = isinstance(found, list) and all(isinstance(i, int) and 0 <= i < count for i in found)
    return found if fits else None


def _lost(images: Images) -> list[int]:
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
    """The images with the same numbers, where those at `index` are never asked for and count as empty in the digest."""
    leave = getattr(images, "leaving_out", None)
    out: Images = leave(index) if leave is not None and len(index) else images
    return out


def content_of(images: Images, reporter: Reporter, skipped: Collection[int] = ()) -> str:
    """Fingerprint of the images' content; processes of one run read them once.

    Raises DataError that lists all images that cannot be read if a file is not there.
    """
    with distributed.in_turn():
        try:
            return images_digest(images)
        except DataError:
            refuse(images, reporter, skipped)
            raise


def look(images: Images, reporter: Reporter, skipped: Collection[int] = ()) -> None:
    """A glance at every file before hours of work. Raises DataError that lists all unreadable images if there is one."""
    whole = getattr(images, "looks_whole", None)
    if whole is None:
        return
    left_out = set(skipped)
    doubtful = [i for i in range(len(images)) if i not in left_out and not whole(i)]
    if doubtful and any(_fault(images, i) for i in doubtful):
        refuse(images, reporter, skipped)


def refuse(images: Images, reporter: Reporter, skipped: Collection[int] = ()) -> None:
    """Raise a DataError that lists all images that cannot be read, except those that are skipped anyway; return if all can."""
    left_out = set(skipped)
    bad = unreadable(images, reporter, [i for i in range(len(images)) if i not in left_out])
    if bad:
        raise DataError(
            f"{listed(images, sorted(bad))}: {_first(bad)}; replace them, or go on without them by --skip-bad or "
            "--set features.skip_bad=true"
        )


def listed(images: Images, bad: Collection[int]) -> str:
    """'3 of 40 images cannot be read (a.jpg, b.jpg, c.jpg)'."""
    names = errors.listed([images.key(i) for i in bad], NAMED)
    return f"{len(bad)} of {len(images)} images cannot be read ({names})"


def _first(bad: Mapping[int, str]) -> str:
    fault = bad[min(bad)].partition(";")[0]
    return fault[:1].lower() + fault[1:]
