"""Checks of imported numbers before anything is written: indices of images and of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import PARTS, Index
from zslkit.errors import DataError, did_you_mean


def class_counts(labels: NDArray[Any] | None, base: int | None) -> frozenset[int]:
    """Numbers of classes that labels (N,) may imply, if the last class has an image.

    One number; two if labels may start at 0 or at 1; none if they are invalid. `base` is the first
    index, where the format or the user states it.
    """
    if labels is None or not labels.size:
        return frozenset()
    if labels.dtype.kind == "U":
        return frozenset({len(np.unique(labels))})
    if labels.dtype.kind not in "iuf" or not np.isfinite(labels).all():
        return frozenset()
    low, high = int(labels.min()), int(labels.max())
    bases = (0,) if low == 0 else (0, 1) if base is None else (base,)
    # Labels of which every number from 1 on occurs are taken to start at 1.
    if low == 1 and base is None and len(np.unique(labels)) == high:
        bases = (1,)
    return frozenset(high + 1 - b for b in bases) if low >= 0 else frozenset()


def from_zero(
    path: Path,
    what: str,
    numbers: NDArray[Any],
    count: int,
    of: str,
    base: int | None,
    stated: int | None,
) -> Index:
    """Convert indices (N,) of `count` images or classes to 0-based.

    The range decides the base if it contains 0 or `count`; otherwise `stated` (by the format) or
    `base` (by the user) does. `what` and `of` ("images", "classes") are words for errors.

    Raises:
        DataError: They are not such indices, contradict `base` or `stated`, or their base is
            ambiguous.
    """
    refuse_odd(path, what, of, numbers)
    low, high = int(numbers.min()), int(numbers.max())
    if high > count or (low == 0 and high == count):
        place = ""
        if high > count:
            beyond = numbers > count
            place = (
                f" ({int(beyond.sum())} of {len(numbers)} are outside, the first at place "
                f"{int(beyond.argmax())}, counted from 0)"
            )
        most = high if high < 10**12 else f"{high:.3g}"
        raise DataError(
            f"{path}: {what} run from {low} to {most}, and there are {count} {of}{place}; are "
            "they of one dataset?"
        )
    implied = 0 if low == 0 else 1 if high == count else None
    if stated is not None and implied is not None and implied != stated:
        raise DataError(
            f"{path}: {what} run from {low} to {high} of {count} {of}, and in this format they "
            f"count from {stated}; mend them"
        )
    if base is not None and (stated if implied is None else implied) not in (None, base):
        raise DataError(
            f"{path}: {what} run from {low} to {high} of {count} {of}, so they do not count from "
            f"{base}; leave --base away"
        )
    start = next((b for b in (implied, stated, base) if b is not None), None)
    if start is None:
        raise DataError(
            f"{path}: {what} run from {low} to {high} of {count} {of}, which may be from 0 or "
            "from 1; say --base 0 or --base 1"
        )
    return numbers.astype(np.int64) - start


def refuse_odd(path: Path, what: str, of: str, numbers: NDArray[Any]) -> None:
    """Check that numbers (N,) can be indices, whatever their base.

    Raises:
        DataError: Shows the first number that is not finite, not whole, or negative.
    """
    should = f"{path}: {what} should be whole numbers of {of}"
    if not numbers.size:
        raise DataError(f"{should}, and there are none; mend the file")
    if numbers.dtype.kind not in "iuf":
        raise DataError(f"{should}, and these are {numbers.dtype}; mend them")
    kinds = (
        (~np.isfinite(numbers), "not finite"),
        (numbers != np.floor(numbers), "not whole"),
        (numbers < 0, "negative"),
    )
    for mask, fault in kinds:
        if mask.any():
            k = int(mask.argmax())
            raise DataError(
                f"{should}, and {int(mask.sum())} of {len(numbers)} are {fault} ({numbers[k]:g} "
                f"at place {k}, counted from 0); mend them"
            )


def class_ids(
    path: Path, raw: NDArray[Any], classes: Sequence[str], base: int | None, stated: int | None
) -> Index:
    """Class ids (N,) of labels that are numbers or class names."""
    if raw.dtype.kind != "U":
        return from_zero(path, "labels", raw, len(classes), "classes", base, stated)
    number = {name.strip(): k for k, name in enumerate(classes)}
    named = [str(label).strip() for label in raw]
    if unknown := sorted(set(named) - set(number)):
        raise DataError(
            f"{path}: labels are names, and {len(unknown)} of them are no class of the class "
            f"attributes ({unknown[0]!r}){did_you_mean(unknown[0], number)}"
        )
    return np.array([number[label] for label in named], dtype=np.int64)


def _of_two(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all())


def split_parts(
    path: Path,
    locs: Mapping[str, NDArray[Any]],
    count: int,
    base: int | None,
    stated: int | None,
) -> dict[str, Index]:
    """0-based image indices of each part of the split.

    The parts share one base, and only together need they contain the first or last image.
    """
    masks = [f"{p}_loc" for p in PARTS if locs[p].size == count > 2 and _of_two(locs[p])]
    if masks:
        raise DataError(
            f"{path}: {', '.join(masks)} hold a 0 or 1 for each of {count} images; save "
            "numpy.flatnonzero of each, the numbers of its images"
        )
    for part in PARTS:
        refuse_odd(path, f"{part}_loc", "images", locs[part].ravel())
    sizes = np.cumsum([locs[part].size for part in PARTS])[:-1]
    every = np.concatenate([locs[part].ravel() for part in PARTS])
    numbers = from_zero(
        path, ", ".join(f"{part}_loc" for part in PARTS), every, count, "images", base, stated
    )
    return {
        part: np.sort(index) for part, index in zip(PARTS, np.split(numbers, sizes), strict=True)
    }
