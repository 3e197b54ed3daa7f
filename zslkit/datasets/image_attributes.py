"""Attributes of single photos, from a CSV with a row for each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Index, Split
from zslkit.datasets.attribute_table import numbers_in, read_rows
from zslkit.errors import DataError, did_you_mean
from zslkit.readers.names import match, shown, some


@dataclass(frozen=True)
class ImageAttributes:
    """Attributes of photos.

    Args:
        names: A attribute names.
        values: (N, A) float32; NaN where nothing is known of a photo.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]


def read_image_attributes(file: Path, photos: Sequence[str]) -> ImageAttributes:
    """Read a CSV: the path of a photo in each row, then its attributes; an empty cell is unknown.

    Args:
        photos: N paths of the photos of the dataset.

    Raises:
        DataError: A row is of no photo, or a cell holds no number.
    """
    names, rows = read_rows(file, "photo")
    values = np.full((len(photos), len(names)), np.nan, dtype=np.float32)
    number = {photo: k for k, photo in enumerate(photos)}
    # As in a list of images: ./ counts for nothing, and \\ parts folders unless a photo has it.
    paths = {row.name: PurePosixPath(row.name).as_posix() for row in rows}
    plain = {
        name: path if path in number else PureWindowsPath(name).as_posix()
        for name, path in paths.items()
    }
    spelled = match((name for name in plain.values() if name not in number), photos)
    joined = {name: name if name in number else spelled.get(name) for name in plain.values()}
    unknown = [row for row in rows if joined[plain[row.name]] is None]
    if unknown:
        raise DataError(
            f"{file}: {len(unknown)} of {len(rows)} rows are of no photo of the dataset "
            f"({some([row.name for row in unknown], 3)}, line {unknown[0].line})"
            f"{did_you_mean(unknown[0].name, photos[:10_000])}"
        )
    at: dict[int, int] = {}
    for row in rows:
        place = number[str(joined[plain[row.name]])]
        if (line := at.setdefault(place, row.line)) != row.line:
            raise DataError(
                f"{file}: lines {line} and {row.line} are of one photo, {shown(photos[place])}; "
                "leave one"
            )
        values[place] = numbers_in(file, row, names, empty=np.nan)
    return ImageAttributes(names, values)


def class_means(
    file: Path, found: ImageAttributes, labels: Index, split: Split, classes: Sequence[str]
) -> NDArray[np.float32]:
    """Attributes of C classes, (C, A): means over the photos of trainval for a seen class, else
    all.

    Raises:
        DataError: Nothing is known of an attribute of a class.
    """
    means = np.empty((len(classes), len(found.names)), dtype=np.float32)
    trained = np.zeros(len(labels), dtype=bool)
    trained[split.trainval] = True
    for k, name in enumerate(classes):
        own = labels == k
        rows = found.values[own & trained] if (own & trained).any() else found.values[own]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is told below
            means[k] = np.nanmean(rows.astype(np.float64), axis=0) if len(rows) else np.nan
        if (empty := np.isnan(means[k])).any():
            lost = found.names[int(np.flatnonzero(empty)[0])]
            raise DataError(
                f"{file}: nothing is known of {int(empty.sum())} attributes of the class "
                f"{shown(name)} ({lost}, ...) in the photos that its mean is made of; fill in a "
                "cell, or give the class attributes with the key attributes"
            )
    return means
