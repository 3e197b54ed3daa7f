"""Class of each image in the user's own res101.mat: from labels, checked against folder names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from zslkit.dataset import Index
from zslkit.datasets.xlsa17_join import anchored, plain, spelled
from zslkit.errors import DataError
from zslkit.readers.names import some

_Folder = tuple[str, ...]
_AS_LABELLED = "--as-labelled takes the labels as they are"


def own_class_ids(
    path: Path, classes: Sequence[str], labels: Index, files: Sequence[str]
) -> tuple[Index, tuple[str, ...]]:
    """Class of each image: its label, unless all folders show that labels count in another order.

    Folders may be laid out in any way: `ant/1.jpg`, `train/ant/1.jpg`, `ant/2019/1.jpg`,
    `train/1.jpg`. The level at which most images lie in a folder named after a class is used.

    Args:
        classes: C class names.
        labels: (N,) row indices of the class-attribute table.
        files: N image paths on the disk of the author.

    Returns:
        Class ids (N,), and notes.

    Raises:
        DataError: Folders and labels contradict each other.
    """
    if len(files) != len(labels):
        raise DataError(
            f"{path}: image_files has {len(files)} paths for {len(labels)} labels; mend it, or "
            f"{_AS_LABELLED}"
        )
    folders = [_folder(file) for file in files]
    named, level = _best_level(folders, _lookup(classes))
    by_folder = np.array([-1 if named[folder] is None else named[folder] for folder in folders])
    known = by_folder >= 0
    # If one class is named "train", the folders train and test are still not class folders.
    most = max(len({level(folder) for folder in folders}), len(set(labels.tolist())))
    if 2 * len(set(by_folder[known])) < most:
        note = "no folder in image_files is named after a class; the labels are taken as they are"
        return labels, (note,)
    wrong = known & (by_folder != labels)
    if not wrong.any():
        unmatched = sorted({str(level(folder)) for folder in folders if named[folder] is None})
        note = (
            f"{len(unmatched)} folders in image_files are named after no class "
            f"({some(unmatched, 3)}); their images go by their labels"
        )
        return labels, ((note,) if unmatched else ())
    pairs = set(zip(labels.tolist(), by_folder.tolist(), strict=True))
    one_to_one = len(pairs) == len({label for label, _ in pairs}) == len({k for _, k in pairs})
    if known.all() and one_to_one:
        note = (
            "labels count the classes in another order than their names; images go to the class "
            f"that their folder names ({_AS_LABELLED})"
        )
        return by_folder.astype(np.int64), (note,)
    first = int(wrong.argmax())
    raise DataError(
        f"{path}: image {first + 1} lies in the folder {level(folders[first])!r} and has the "
        f"label of {classes[labels[first]]!r}, and so {int(wrong.sum())} images contradict their "
        f"labels; mend labels or image_files, or {_AS_LABELLED}"
    )


def _folder(file: str) -> _Folder:
    """Folders above an image: those below `images` if the path contains it, else all."""
    parts = (anchored(file) or file.replace("\\", "/")).split("/")[:-1]
    return tuple(part for part in parts if part)


def _lookup(classes: Sequence[str]) -> Callable[[str], int | None]:
    """Class of a name as spelled; else without case and punctuation, where that is unambiguous."""
    exact = {spelled(c): k for k, c in enumerate(classes)}
    alike = Counter(plain(c) for c in classes)
    loose = {key: k for k, c in enumerate(classes) if alike[key := plain(c)] == 1 and key}
    return lambda name: exact.get(spelled(name), loose.get(plain(name)))


def _best_level(
    folders: Sequence[_Folder], number: Callable[[str], int | None]
) -> tuple[dict[_Folder, int | None], Callable[[_Folder], str | None]]:
    """Level at which most images lie in a folder named after a class.

    Returns folder -> class at this level, and the function that gives a folder's name there.
    """
    images = Counter(folders)
    tried = []
    for level in _levels(max(map(len, images), default=0)):
        named = {
            folder: None if (name := level(folder)) is None else number(name) for folder in images
        }
        matched = sum(count for folder, count in images.items() if named[folder] is not None)
        tried.append((matched, named, level))
    _, named, level = max(tried, key=lambda one: one[0])
    return named, level


def _levels(depth: int) -> Iterator[Callable[[_Folder], str | None]]:
    """Functions that give the name of a folder at each level, counted from either end."""
    yield "/".join
    for k in (k for up in range(depth) for k in (-1 - up, up)):
        yield lambda folder, k=k: folder[k] if -len(folder) <= k < len(folder) else None  # type: ignore[misc]
