"""`zslkit.predict`, and heat maps: a trained model on photos of one's own, from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zslkit.errors import UserError
from zslkit.explain.prediction import Among, Prediction, images_of
from zslkit.explain.prediction import predict as predicted
from zslkit.readers.image_file import is_picture
from zslkit.runs.result import Result, open_run

if TYPE_CHECKING:
    from zslkit.readers.image_file import Photo


def predict(
    run: Result | str | Path,
    photos: Photo | Sequence[Photo],
    *,
    top: int = 5,
    classes: Among = "all",
    attributes: int = 3,
) -> list[Prediction]:
    """The most likely classes of each photo, with the run's own gamma, as `zslkit predict`.

    Args:
        run: A finished run, or its folder.
        photos: A path, an image of Pillow, or a list of them. A folder stands for its images.
        top: Number of classes.
        classes: "all", "seen" or "unseen": the classes to choose from.
        attributes: Number of attributes that spoke for each class.

    Returns:
        One prediction a photo, in order; `fault` says why an image of a folder cannot be read.

    Raises:
        UserError: The run cannot take photos, or a photo is neither a path nor an image.
        DataError: A photo cannot be read.
    """
    opened = run if isinstance(run, Result) else open_run(run)
    found = [one for photo in photo_list(photos) for one in images_of([photo])]
    return list(
        predicted(opened.model.opened, found, top=top, among=classes, attributes=attributes)
    )


def photo_list(photos: Photo | Sequence[Photo]) -> list[Photo]:
    """One photo or several, as a list."""
    if isinstance(photos, (str, os.PathLike)) or is_picture(photos):
        return [photos]  # type: ignore[list-item]
    if not isinstance(photos, Iterable):
        raise UserError(
            "Photos are paths or images of Pillow, one or a list, and not "
            f"{type(photos).__name__}; give one"
        )
    return list(photos)
