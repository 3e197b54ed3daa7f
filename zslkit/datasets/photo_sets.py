"""Photos of a card: labels and split, from a folder for each class or from a list."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from zslkit.dataset import Index, Split, members_of
from zslkit.datasets.card_keys import FolderCard
from zslkit.datasets.image_list import ImageList
from zslkit.errors import DataError
from zslkit.readers.names import match, refuse_clash, shown, some
from zslkit.readers.photos import Photos, find_photos, folders_in, left_words


@dataclass(frozen=True)
class CardPhotos:
    """Photos of a card."""

    home: Path  # Folder at which paths start
    paths: tuple[str, ...]  # N paths relative to it
    labels: Index  # (N,) class ids
    split: Split
    notes: tuple[str, ...] = ()


def from_folders(
    path: Path, card: FolderCard, home: Path, classes: Sequence[str], unseen: Collection[int]
) -> CardPhotos:
    """Photos of the folder `home`, which holds a folder for each of C classes.

    `unseen` holds the ids of the unseen classes, of which one may have no folder.

    Raises:
        DataError: Folders and classes differ, a folder holds no photo, or a part would be empty;
            begins with `path`, that of the card.
    """
    folders = _join(path, classes, folders_of(path, home), home, unseen)
    found = find_photos(home, list(folders.values()))
    empty = (empty_words(home, name, found) for name in folders.values() if not found.of(name))
    if wrong := torn_words(found) or next(empty, ""):
        raise DataError(f"{path}: {wrong}")
    number = {folder: k for k, folder in folders.items()}
    labels = np.array([number[photo.partition("/")[0]] for photo in found.paths], dtype=np.int64)
    split = _held_out(path, card, labels, unseen, len(classes))
    notes = (found.note(), photoless_words(labels, classes, unseen))
    return CardPhotos(home, found.paths, labels, split, tuple(note for note in notes if note))


def from_list(
    path: Path,
    card: FolderCard,
    found: ImageList,
    classes: Sequence[str],
    unseen: Collection[int] | None,
) -> CardPhotos:
    """Photos of a list, of C classes; without ids of unseen classes, the list's split tells them.

    Raises:
        DataError: A label is no class, a seen class has no photo, or the list's split contradicts
            the unseen classes; begins with `path`, that of the card.
    """

    def names(ids: Collection[int]) -> str:
        return some([classes[k] for k in sorted(ids)])

    labels = found.ids(classes)
    if found.parts:
        split = found.split()
        trained = set(labels[split.trainval].tolist())
        unseen = set(range(len(classes))) - trained if unseen is None else unseen
        if wrong := trained & set(unseen):
            raise DataError(
                f"{path}: {len(wrong)} unseen classes have photos in trainval of {found.file.name} "
                f"({names(wrong)}); put them in test_unseen, or take "
                "the classes out of unseen"
            )
        tested = set(labels[split.test_unseen].tolist())
        if wrong := tested - set(unseen):
            raise DataError(
                f"{path}: {len(wrong)} classes have photos in test_unseen of {found.file.name} and "
                f"do not stand in unseen ({names(wrong)}); add them "
                "there, or leave unseen out, since the list tells it"
            )
    without = set(range(len(classes))) - set(labels.tolist()) - set(unseen or ())
    if without:
        raise DataError(
            f"{path}: {len(without)} seen classes have no photo in {found.file.name} "
            f"({names(without)}); add photos, name them in unseen, or "
            "remove their rows"
        )
    assert unseen is not None
    if not found.parts:
        split = _held_out(path, card, labels, unseen, len(classes))
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


def hold_out(
    labels: Index, seen: Sequence[int], unseen: Sequence[int], share: float = 0.2, seed: int = 0
) -> Split:
    """Split images: `share` of each seen class is test_seen, all of the unseen classes test_unseen.

    One generator draws for the classes in the order of `seen`: it permutes the n images of a class
    and holds out the first round(share * n), but never all.

    Args:
        labels: (N,) class ids, images in sorted path order.
        share: Share held out, between 0 and 1.
    """
    rng = np.random.default_rng(seed)
    train: list[Index] = [np.zeros(0, np.int64)]
    test: list[Index] = [np.zeros(0, np.int64)]
    images = members_of(labels, 1 + max(int(labels.max(initial=-1)), *seen, -1))
    for k in seen:
        members = rng.permutation(images[k])
        cut = min(round(share * len(members)), len(members) - 1)
        test.append(members[:cut])
        train.append(members[cut:])
    kept, held = (np.sort(np.concatenate(part)) for part in (train, test))
    return Split(kept, held, np.flatnonzero(np.isin(labels, list(unseen))))


def _held_out(
    path: Path, card: FolderCard, labels: Index, unseen: Collection[int], count: int
) -> Split:
    seen = [k for k in range(count) if k not in unseen]
    split = hold_out(labels, seen, sorted(unseen), card.test_seen_share, card.seed)
    if not len(split.test_unseen):
        raise DataError(
            f"{path}: no unseen class has a photo, so that T1, U and H cannot be measured; add "
            "photos of one unseen class or more"
        )
    if not len(split.test_seen):
        raise DataError(
            f"{path}: test_seen_share = {card.test_seen_share} holds out no image of such small "
            "classes; make it larger"
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
    if (pair := found.torn()) is None:
        return ""
    return f"{pair[0]} and {pair[1]} are one file or folder under two classes; leave it in one"


def empty_words(home: Path, folder: str, found: Photos) -> str:
    """Error text for a class folder in which no photo counts."""
    others = found.others.items()
    skipped = left_words({p: why for p, why in others if f"{p}/".startswith(f"{folder}/")})
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
        hint = "; give both the same names"
        if near:
            hint = f"; is {shown(missing[0])} the folder {shown(near[0])}?"
        raise DataError(f"{card}: {' and '.join(sides)}{hint}")
    return {k: joined[c] for k, c in enumerate(classes) if c in joined}
