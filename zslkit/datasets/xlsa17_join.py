"""Class of each image of the proposed splits, joined by class and folder names, never by order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from zslkit.dataset import Index
from zslkit.errors import DataError

_ANCHOR = re.compile(r"(?:.*/)?(?:images|JPEGImages)/+(.+)")


def anchored(file: str) -> str | None:
    """Portable part of a path in image_files of res101.mat: all after `/images/` or `/JPEGImages/`.

    >>> anchored("/BS/data/SUN/images/a/abbey/sun_aa.jpg")
    'a/abbey/sun_aa.jpg'
    """
    match = _ANCHOR.fullmatch(file.replace("\\", "/"))
    return re.sub("/+", "/", match[1]) if match else None


def class_ids(
    name: str, classes: Sequence[str], labels: Index, paths: Sequence[str | None]
) -> Index:
    """Class ids (N,) of the images, by the name of the folder of each image.

    Args:
        classes: C class names.
        labels: (N,) row indices of the class-attribute table; they decide where folders do not.
        paths: N paths as `anchored` returns them.

    Raises:
        DataError: Folders and labels contradict each other.
    """
    if any(path is None or "/" not in path for path in paths):
        return labels
    folders = [str(path).rpartition("/")[0] for path in paths]
    pairs = sorted(set(zip(labels.tolist(), folders, strict=True)))
    if not len(pairs) == len({label for label, _ in pairs}) == len({f for _, f in pairs}):
        raise DataError(
            f"{name}: labels and folders of image_files in res101.mat are not one to one; fetch "
            "res101.mat again"
        )
    number = {plain(c): k for k, c in enumerate(classes)}
    named = {label: number.get(plain(folder)) for label, folder in pairs}
    known = [k for k in named.values() if k is not None]
    if len(number) < len(classes) or len(known) > len(set(known)):
        raise DataError(
            f"{name}: two classes or folders of images have the same name but for case and signs; "
            "fetch att_splits.mat and res101.mat again"
        )
    unmatched = [folder for label, folder in pairs if named[label] is None]
    others_moved = any(k not in (None, label) for label, k in named.items())
    if unmatched and (len(unmatched) == len(pairs) or others_moved):
        shown = ", ".join(repr(folder) for folder in unmatched[:3])
        raise DataError(
            f"{name}: {len(unmatched)} folders of image_files in res101.mat are no class of "
            f"att_splits.mat ({shown}); take both from one xlsa17.zip"
        )
    # The label decides for a folder spelled unlike its class, once all other folders agree.
    final = {label: label if k is None else k for label, k in named.items()}
    return np.array([final[label] for label in labels.tolist()], dtype=np.int64)


def spelled(name: str) -> str:
    """Class name without outer blanks, accented letters composed: one key for equal spellings."""
    return unicodedata.normalize("NFC", name.strip())


def plain(name: str) -> str:
    """Class or folder name without number prefix, initial-letter folder, case and punctuation.

    >>> plain("001.Black_footed_Albatross"), plain("a/apse/indoor"), plain("apse_indoor")
    ('blackfootedalbatross', 'apseindoor', 'apseindoor')
    """
    return re.sub(r"[\W_]+", "", re.sub(r"^(?:\d+\.|\w/)", "", name)).lower()
