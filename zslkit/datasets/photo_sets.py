"""Photos of a card: labels and split, from a folder for each class or from a list."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from zslkit.dataset import Index, Split
from zslkit.datasets.image_folders import hold_out
from zslkit.datasets.image_list import ImageList
from zslkit.errors import DataError
from zslkit.readers.names import match, refuse_clash, shown, some
from zslkit.readers.photos import Photos, find_photos, folders_in, left_words


@dataclass(frozen=True)
class CardPhotos:
    """Photos of a card.

    Args:
        home: Folder at which paths start.
        paths: N paths relative to it.
        labels: (N,) class ids.
    """

    home: Path
    paths: tuple[str, ...]
    labels: Index
    split: Split
    notes: tuple[str, ...] = ()


def from_folders(
    card: Path,
    home: Path,
    classes: Sequence[str],
    unseen: Collection[int],
    share: float,
    seed: int,
) -> CardPhotos:
    """Photos of a folder that holds a folder for each class.

    Args:
        classes: C class names.
        unseen: Ids of the unseen classes; one may have no folder.
        share: As in `hold_out`.
        seed: As in `hold_out`.

    Raises:
        DataError: Folders and classes differ, a folder holds no photo, or a part would be empty.
    """
    folders = _join(card, classes, folders_of(card, home), home, unseen)
    found = find_photos(home, list(folders.values()))
    if wrong := torn_words(found) or next(
        (empty_words(home, folder, found) for folder in folders.values() if not found.of(folder)),
        "",
    ):
        raise DataError(f"{card}: {wrong}")
    number = {folder: k for k, folder in folders.items()}
    labels = np.array([number[photo.partition("/")[0]] for photo in found.paths], dtype=np.int64)
    split = _held_out(card, labels, classes, unseen, share, seed)
    notes = (found.note(), photoless_words(labels, classes, unseen))
    return CardPhotos(home, found.paths, labels, split, tuple(note for note in notes if note))


def from_list(
    card: Path,
    found: ImageList,
    classes: Sequence[str],
    unseen: Collection[int] | None,
    share: float,
    seed: int,
) -> CardPhotos:
    """Photos of a list.

    Args:
        classes: C class names.
        unseen: Ids of the unseen classes; None if the split of the list tells them.
        share: As in `hold_out`; for a list without split.
        seed: As in `hold_out`.

    Raises:
        DataError: A label is no class, a seen class has no photo, or the list's split contradicts
            the unseen classes.
    """
    labels = found.ids(classes)
    if found.parts:
        split = found.split()
        trained = set(labels[split.trainval].tolist())
        told = set(range(len(classes))) - trained
        if unseen is not None and (wrong := trained & set(unseen)):
            raise DataError(
                f"{card}: {len(wrong)} unseen classes have photos in trainval of {found.file.name} "
                f"({some([classes[k] for k in sorted(wrong)])}); put them in test_unseen, or take "
                "the classes out of unseen"
            )
        unseen = told if unseen is None else unseen
        tested = set(labels[split.test_unseen].tolist())
        if wrong := tested - set(unseen):
            raise DataError(
                f"{card}: {len(wrong)} classes have photos in test_unseen of {found.file.name} and "
                f"do not stand in unseen ({some([classes[k] for k in sorted(wrong)])}); add them "
                "there, or leave unseen out, since the list tells it"
            )
    without = set(range(len(classes))) - set(labels.tolist()) - set(unseen or ())
    if without:
        raise DataError(
            f"{card}: {len(without)} seen classes have no photo in {found.file.name} "
            f"({some([classes[k] for k in sorted(without)])}); add photos, name them in unseen, or "
            "remove their rows"
        )
    assert unseen is not None
    if not found.parts:
        split = _held_out(card, labels, classes, unseen, share, seed)
    unread = f"{found.file.name}: not read: {', '.join(found.unread)}" if found.unread else ""
    notes = (unread, photoless_words(labels, classes, unseen))
    return CardPhotos(found.home, found.paths, labels, split, tuple(note for note in notes if note))


def photoless_words(labels: Index, classes: Sequence[str], unseen: Collection[int]) -> str:
    """Remark on unseen classes without any photo; "" if all have some."""
    without = sorted(set(unseen) - set(labels.tolist()))
    if not without:
        return ""
    left = len(unseen) - len(without)
    return (
        f"{len(without)} of {len(unseen)} unseen classes {'has' if len(without) == 1 else 'have'} "
        f"no photo ({some([classes[k] for k in without])}): they may be answered, and T1 and U are "
        f"means over the other {left}"
    )


def _held_out(
    card: Path,
    labels: Index,
    classes: Sequence[str],
    unseen: Collection[int],
    share: float,
    seed: int,
) -> Split:
    seen = [k for k in range(len(classes)) if k not in unseen]
    split = hold_out(labels, seen, sorted(unseen), share, seed)
    if not len(split.test_unseen):
        raise DataError(
            f"{card}: no unseen class has a photo, so that T1, U and H cannot be measured; add "
            "photos of one unseen class or more"
        )
    if not len(split.test_seen):
        raise DataError(
            f"{card}: test_seen_share = {share} holds out no image of such small classes; make it "
            "larger"
        )
    return split


def folders_of(place: object, home: Path) -> list[str]:
    """Names of the class folders in `home`.

    Raises:
        DataError: Two folders have the same name, or `home` cannot be read; starts with `place`.
    """
    try:
        folders = folders_in(home)
    except OSError as error:
        raise DataError(
            f"{place}: the folder {home} cannot be read ({error.strerror}); check its permissions"
        ) from error
    refuse_clash(place, f"folders of {home}", folders)
    return folders


def torn_words(found: Photos) -> str:
    """Error text if links put one file into two classes, else ""."""
    pair = found.torn()
    return (
        f"{pair[0]} and {pair[1]} are one file or folder under two classes; leave it in one"
        if pair
        else ""
    )


def empty_words(home: Path, folder: str, found: Photos) -> str:
    """Error text for a class folder in which no photo counts."""
    skipped = left_words(
        {
            path: why
            for path, why in found.others.items()
            if path == folder or path.startswith(f"{folder}/")
        }
    )
    return (
        f"the class folder {home / folder} holds no image{f' ({skipped})' if skipped else ''}; "
        "add some or remove the class"
    )


def _join(
    card: Path, classes: Sequence[str], folders: Sequence[str], home: Path, unseen: Collection[int]
) -> dict[int, str]:
    """Folder of each class, joined by name; an unseen class may have none."""
    joined = match(classes, folders)
    missing = [c for c in classes if c not in joined]
    unmatched = sorted(set(folders) - set(joined.values()))
    needed = [c for k, c in enumerate(classes) if k not in unseen and c not in joined]
    if needed or unmatched:
        sides = []
        if missing:
            sides.append(
                f"{len(missing)} classes of {card.name}'s CSV have no folder in {home} "
                f"({some(missing)})"
            )
        if unmatched:
            sides.append(
                f"{len(unmatched)} folders there have no row in the CSV ({some(unmatched)})"
            )
        near = get_close_matches(missing[0], unmatched, n=1) if missing else []
        hint = (
            f"; is {shown(missing[0])} the folder {shown(near[0])}?"
            if near
            else "; give both the same names"
        )
        raise DataError(f"{card}: {' and '.join(sides)}{hint}")
    return {k: joined[c] for k, c in enumerate(classes) if c in joined}
