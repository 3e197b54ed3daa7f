"""`zslkit data verify`: runs all checks of a dataset; here are those that open every image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zslkit.dataset import Index
from zslkit.errors import DataError
from zslkit.utils.files import cache_root
from zslkit.utils.progress import Reporter
from zslkit.verify.checks import CHECKS, DatasetCheck
from zslkit.verify.duplicates import (
    BITS,
    CONTRAST,
    NEAR_BITS,
    NEAR_CORRELATION,
    Scan,
    identical,
    near,
    scan,
)
from zslkit.verify.material import DatasetFiles, gather_files

OPEN, SAME, NEAR = "images open", "identical images", "near-duplicates"
LISTED = 1000
"""Limit of listed near-duplicates, nearest first; their number may grow with the square of N."""


def verify(name: str, root: Path, reporter: Reporter, images: bool = True) -> list[DatasetCheck]:
    """Run all checks of a registered dataset or a card; one that cannot be read gives one fault.

    Raises:
        UnknownName: No dataset has this name.
        NameClash: Two distributions register this name.
        BrokenPlugin: The registered source fails.
    """
    try:
        material = gather_files(name, root)
    except DataError as error:
        return [DatasetCheck("read", "fault", str(error))]
    return examine(material, reporter, images)


def examine(m: DatasetFiles, reporter: Reporter, images: bool = True) -> list[DatasetCheck]:
    """Run all checks of gathered files."""
    return [_checked(m, name) for name in CHECKS] + [*image_checks(m, reporter, images)]


def _checked(m: DatasetFiles, name: str) -> DatasetCheck:
    if name in m.found_faults:
        return DatasetCheck(name, "fault", m.found_faults[name])
    verdict, text, *items = CHECKS[name](m)
    return DatasetCheck(name, verdict, text, tuple(items[0]) if items else ())


def image_checks(m: DatasetFiles, reporter: Reporter, wanted: bool) -> Iterator[DatasetCheck]:
    """Run the checks of the images, or skip them if they are not `wanted`."""
    if m.found_faults.get("photos"):
        yield DatasetCheck("photos", "fault", m.found_faults["photos"])
    for note in m.notes:
        yield DatasetCheck("photos", "note", note)
    if m.strays:
        yield DatasetCheck(
            "photos", "note", f"{len(m.strays)} image files on disk are in no list", m.strays
        )
    if m.images is None or not wanted:
        why = m.why_no_images if m.images is None else "images were not to be opened"
        yield from (DatasetCheck(name, "skipped", why) for name in (OPEN, SAME, NEAR))
        return
    signature = getattr(m.images, "stat_signature", None)
    try:
        keep = None if signature is None else cache_root() / "scans" / f"{signature()}.npz"
    except DataError:  # an image is missing, which `scan` reports by name
        keep = None
    seen = scan(m.images, reporter, keep)
    if seen.faults:
        text = f"{len(seen.faults)} of {len(m.images)} do not open"
        yield DatasetCheck(OPEN, "fault", text, tuple(seen.faults.values()))
    else:
        yield DatasetCheck(OPEN, "ok", f"all {len(m.images)}")
    if seen.scaled:
        items = tuple(f"{_where(m, i)}: {how}" for i, how in seen.scaled.items())
        text = (
            f"{len(seen.scaled)} of {len(m.images)} have more than 8 bits a channel and are scaled"
        )
        yield DatasetCheck("bits of images", "note", text, items)
    if seen.flat:
        text = (
            f"{len(seen.flat)} of {len(m.images)} show nothing: less than {CONTRAST} of 256 "
            "levels between their darkest and lightest pixel"
        )
        yield DatasetCheck("contrast", "note", text, tuple(_where(m, i) for i in seen.flat))
    if len(seen.faults) == len(m.images):
        yield from (DatasetCheck(name, "skipped", "no image opens") for name in (SAME, NEAR))
        return
    yield _same(m, seen)
    yield _alike(m, seen, reporter)


def _same(m: DatasetFiles, seen: Scan) -> DatasetCheck:
    """Images with identical content."""
    groups = identical(seen.digests)
    if not groups:
        return DatasetCheck(SAME, "ok", "no two images have the same bytes (sha256)")
    across: list[list[int]] = []
    two_classes: list[list[int]] = []
    rest: list[list[int]] = []
    for group in groups:
        sets = {m.parts[i] for i in group} - {""}
        classes = set() if m.image_labels is None else {int(m.image_labels[i]) for i in group}
        (across if len(sets) > 1 else two_classes if len(classes) > 1 else rest).append(group)
    items = [" = ".join(_where(m, i) for i in group) for group in (*across, *two_classes, *rest)]
    text = (
        f"{len(groups)} groups of images with the same bytes: {len(across)} across sets, "
        f"{len(two_classes)} more under two classes"
    )
    return DatasetCheck(SAME, "fault" if across else "note", text, tuple(items))


def _alike(m: DatasetFiles, seen: Scan, reporter: Reporter) -> DatasetCheck:
    """Near-duplicates in different parts of the split."""
    content, part = _numbered(seen.digests), _numbered(m.parts)
    unseen = np.array(["unseen" in name for name in m.parts])
    none = np.array([not name for name in m.parts])
    count = two_classes = sides = total = 0
    nearest = np.zeros((0, 3), dtype=np.int64)
    with reporter.phase("compare all pairs"):
        for a, b, bits in near(seen.thumbnails, list(seen.faults)):
            other = content[a] != content[b]
            total += int(other.sum())
            counted = other & (part[a] != part[b]) & ~none[a] & ~none[b]
            a, b, bits = a[counted], b[counted], bits[counted]
            count += len(a)
            sides += int((unseen[a] | unseen[b]).sum())
            if m.image_labels is not None:
                two_classes += int((m.image_labels[a] != m.image_labels[b]).sum())
            nearest = np.concatenate([nearest, np.stack([bits, a, b], axis=1)])
            nearest = nearest[np.lexsort(nearest.T[::-1])[:LISTED]]
    rule = (
        f"dHash distance <= {NEAR_BITS} of {BITS} bits and thumbnails that correlate by "
        f"{NEAR_CORRELATION:g} or more"
    )
    within = f"; {total - count} more within a set"
    if not count:
        return DatasetCheck(NEAR, "ok", f"none across sets ({rule}){within}")
    items = tuple(
        f"{_where(m, i)} ~ {_where(m, j)}, {bits} of {BITS} bits" for bits, i, j in nearest.tolist()
    )
    text = (
        f"{count} pairs across sets, {sides} of them seen/unseen, {two_classes} under two classes "
        f"({rule}){within}{f'; the nearest {LISTED} are listed' if count > LISTED else ''}"
    )
    return DatasetCheck(NEAR, "note", text, items)


def _numbered(values: Sequence[str | None]) -> Index:
    """Number the values; equal values get equal numbers."""
    number: dict[str | None, int] = {}
    return np.array([number.setdefault(value, len(number)) for value in values], dtype=np.int64)


def _where(m: DatasetFiles, i: int) -> str:
    assert m.images is not None
    return f"{m.images.key(i)} ({m.parts[i] or 'no set'})"
