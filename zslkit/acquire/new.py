"""Draft of a dataset of the user's own photos: a card and a table to fill in."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from zslkit.datasets.card import inside
from zslkit.datasets.card_keys import read_card
from zslkit.datasets.image_list import read_image_list
from zslkit.datasets.photo_sets import empty_words, folders_of, torn_words
from zslkit.errors import DataError, UserError
from zslkit.readers.image_file import SUFFIXES
from zslkit.readers.names import shown
from zslkit.readers.photos import find_photos, folders_in

EXAMPLES = ("red", "striped", "large")
"""Attributes of a new table if none are given; placeholders to rename."""

_PARTS = frozenset(
    {"train", "test", "val", "valid", "validation", "trainval", "training", "testing"}
)
"""Names of folders that contain class folders instead of images."""

_CARD = """\
# Images, class attributes and split of a dataset; paths are relative to this file.
name: {name}
images: {images}  # {holds}
attributes: {table}  # a class in each row, a number for each attribute
unseen:  # {reason}
{unseen}
features: {{backbone: tf_efficientnet_lite0, size: 224}}
"""


@dataclass(frozen=True)
class Draft:
    """Card and table of an image folder, and those of the two that were newly written."""

    card: Path
    table: Path
    written: tuple[Path, ...]


def draft(
    folder: Path,
    *,
    name: str | None = None,
    attributes: Sequence[str] = (),
    unseen_share: float = 0.25,
    seed: int = 0,
) -> Draft:
    """Write `<name>.yaml` and `<name>.csv` beside `folder`; existing files are kept.

    For a list of images, the table is `<name>-attributes.csv`, and the unseen classes are those of
    its split if it has one. The same seed and folders give the same proposal.

    Args:
        folder: Folder with one folder of images for each class, or a list of images.
        name: Name of the dataset; the name of the folder by default.
        attributes: Columns of the table, EXAMPLES by default.
        unseen_share: Share of the classes proposed as unseen; at least one class.
        seed: Seed of the proposal.

    Raises:
        DataError: The folder has fewer than two classes with images, or the list has a fault.
        UserError: The name or the attributes are invalid.
    """
    folder = folder if folder.name not in ("", "..") else folder.resolve()
    is_list = folder.is_file()
    name = _name(folder.stem if is_list else folder.name) if name is None else _usable(name)
    card = folder.with_name(f"{name}.yaml")
    table = folder.with_name(f"{name}-attributes.csv" if is_list else f"{name}.csv")
    if os.path.lexists(card):
        named = _table_of(card)
        if named is None or os.path.lexists(named):  # `review` reports the faults of a card
            return Draft(card, named or table, ())
        table = named
    photos = read_image_list(folder) if is_list else None
    classes = _classes(folder) if photos is None else photos.classes()
    if len(classes) < 2:
        raise DataError(
            f"{folder} holds photos of the one class {shown(classes[0])}, and two classes are the "
            "least; add others"
        )
    written = []
    if _create(table, _table_text(classes, _columns(attributes))):
        written.append(table)
    if photos is not None and photos.parts:
        unseen, reason = photos.classes_in("test_unseen"), f"those of the split in {folder.name}"
    else:
        unseen = propose(classes, unseen_share, seed)
        reason = (
            f"proposed with seed {seed}: {len(unseen)} of {len(classes)} classes; change it as you "
            "like, but not after looking at results"
        )
    holds = "a path and a label in each row" if is_list else "one folder of images for each class"
    text = _CARD.format(
        name=_scalar(name),
        images=_scalar(folder.name),
        table=_scalar(table.name),
        holds=holds,
        reason=reason,
        unseen="\n".join(f"  - {_scalar(c)}" for c in unseen),
    )
    if _create(card, text):
        written.append(card)
    return Draft(card, table, tuple(written))


def propose(classes: Sequence[str], share: float, seed: int) -> list[str]:
    """Draw round(share * C) of C classes with numpy's default_rng(seed): one or more, never all."""
    count = min(max(round(share * len(classes)), 1), len(classes) - 1)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(classes))[:count])
    return [classes[k] for k in chosen]


def _classes(folder: Path) -> list[str]:
    """Class folders in `folder`, all with images."""
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {folder}; name the folder that holds one folder of images for "
            "each class"
        )
    classes = folders_of(folder, folder)
    # Bytes that are not UTF-8 are surrogates in the names that Python gives.
    if foreign := [n for n in (folder.name, *classes) if n.encode(errors="replace").decode() != n]:
        raise DataError(
            f"The folder name {shown(foreign[0])} is not UTF-8, so that no card can hold it; "
            "rename the folder"
        )
    found = find_photos(folder, classes)
    if shared := torn_words(found):
        raise DataError(f"{folder}: {shared}")
    with_images = [c for c in classes if found.of(c)]
    if len(with_images) < 2:
        deeper = next((c for c in with_images if len(folders_in(folder / c)) > 1), None)
        summary = f"; {found.note()}" if found.others else ""
        hint = "put the images of each class in a folder of its own"
        if deeper is not None:
            hint = f"is {folder / deeper} the folder that is meant?"
        raise DataError(
            f"{folder} holds {len(with_images)} folder{'s' if len(with_images) != 1 else ''} with "
            f"images ({', '.join(SUFFIXES[:3])}, ...){summary}, and two classes are the least; "
            f"{hint}"
        )
    if all(c.lower() in _PARTS for c in classes):
        raise DataError(
            f"{folder} holds {' and '.join(map(repr, classes[:3]))}, which are parts of a split "
            "and no classes; name a folder that holds one folder of images for each class, such "
            f"as {folder / classes[0]}"
        )
    if empty := sorted(set(classes) - set(with_images)):
        raise DataError(empty_words(folder, empty[0], found))
    return classes


def _columns(attributes: Sequence[str]) -> list[str]:
    columns = [a.strip() for a in attributes] or list(EXAMPLES)
    if "" in columns or len(set(columns)) < len(columns):
        raise UserError(
            f"The attributes {', '.join(map(repr, columns))} have an empty name or one that "
            "stands twice; give each a name of its own"
        )
    return columns


def _name(text: str) -> str:
    """Valid dataset name from the name of a folder or list."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "mine"


def _usable(name: str) -> str:
    """Check a dataset name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"{name!r} is no name for a dataset; it takes letters, digits, '.', '_' and '-', a "
            "letter or digit first"
        )
    return name


def _scalar(text: str) -> str:
    """Text as a YAML scalar, quoted where necessary."""
    listed = yaml.safe_dump([text], allow_unicode=True, width=float("inf"))
    return listed.removeprefix("- ").rstrip("\n")


def _table_text(classes: Sequence[str], columns: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["class", *columns])
    writer.writerows([c, *[""] * len(columns)] for c in classes)
    return stream.getvalue()


def _table_of(card: Path) -> Path | None:
    """Path of the table that a card names, None if the card is invalid."""
    try:
        named = read_card(card).attributes
        table = None if named is None else inside(card, "attributes", named)
    except UserError:
        return None
    if table is None:
        return None
    home = card.parent.resolve()
    return card.parent / table.relative_to(home) if table.is_relative_to(home) else table


def _create(path: Path, text: str) -> bool:
    """Write a new file; False if it exists."""
    try:
        stream = path.open("x", encoding="utf-8")
    except FileExistsError:
        return False
    try:
        with stream:
            stream.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True
