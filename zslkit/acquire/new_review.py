"""Review of a dataset of the user's own photos: reports all faults, where loading stops at one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zslkit.dataset import Dataset
from zslkit.datasets.attribute_table import TableRow, number_in, read_rows
from zslkit.datasets.card import inside, load_folder, unseen_names
from zslkit.datasets.card_keys import FolderCard, read_card
from zslkit.datasets.image_list import read_image_list
from zslkit.datasets.photo_sets import empty_words, torn_words
from zslkit.errors import UserError, listed
from zslkit.readers.names import clash_words, match
from zslkit.readers.photos import find_photos, folders_in


@dataclass(frozen=True)
class Review:
    """Faults that make a dataset unusable, or the loaded dataset and the weaknesses of its data."""

    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    dataset: Dataset | None = None


def review(card: Path) -> Review:
    """Check a card, its table and its folders; faults of the data are returned, not raised."""
    try:
        contents = read_card(card)
        home = inside(card, "images", contents.images)
        if contents.attributes is None:
            return _loaded(card, contents, home)
        table = inside(card, "attributes", contents.attributes)
        attributes, rows = read_rows(table)
        unseen = unseen_names(card, contents)
    except UserError as error:
        return Review((str(error),))
    photos = _list(home, rows) if home.is_file() else _folders(home, table, rows, unseen)
    if problems := [*photos, *_cells(table, attributes, rows)]:
        return Review(tuple(problems))
    return _loaded(card, contents, home)


def _loaded(card: Path, contents: FolderCard, home: Path) -> Review:
    try:
        dataset = load_folder(card, contents)
    except UserError as error:
        return Review((str(error),))
    return Review((), tuple(_remarks(dataset, of_folders=home.is_dir())), dataset)


def _list(place: Path, rows: Sequence[TableRow]) -> list[str]:
    """Faults of a list of images."""
    try:
        read_image_list(place).ids([row.name for row in rows])
    except UserError as error:
        return [str(error)]
    return []


def _folders(home: Path, table: Path, rows: Sequence[TableRow], unseen: Sequence[str]) -> list[str]:
    """Faults of the class folders; an unseen class may have none."""
    if not home.is_dir():
        return [f"there is no folder {home} of images"]
    try:
        folders = folders_in(home)
    except OSError as error:
        return [f"the folder {home} cannot be read ({error.strerror}); check its permissions"]
    classes = [row.name for row in rows]
    named = ((home.name, "folders", folders), (table.name, "classes", classes))
    if problems := [
        f"{where}: {words}" for where, kind, names in named if (words := clash_words(kind, names))
    ]:
        return problems  # ambiguous names cannot be joined
    joined = match(classes, folders)
    unmatched = sorted(set(folders) - set(joined.values()))
    may_lack = {} if unmatched else match(classes, unseen)  # else the names may be misspelt
    if missing := [name for name in classes if name not in joined and name not in may_lack]:
        problems.append(
            f"{table.name}: {_count(missing, 'class', 'classes')} without a folder in {home.name} "
            f"({listed(missing)}); rename or remove"
        )
    if unmatched:
        problems.append(
            f"{table.name}: {_count(unmatched, 'folder', 'folders')} of {home.name} without a row "
            f"({listed(unmatched)}); add a row"
        )
    found = find_photos(home, folders)
    if shared := torn_words(found):
        problems.append(f"{home.name}: {shared}")
    problems += [empty_words(home, folder, found) for folder in folders if not found.of(folder)]
    return problems


def _cells(table: Path, attributes: Sequence[str], rows: Sequence[TableRow]) -> list[str]:
    """Faults of the cells of the table."""
    problems, empty = [], []
    for row in rows:
        if len(row.cells) != len(attributes):
            problems.append(
                f"{table.name}, line {row.line}: {row.name} has {len(row.cells)} values for "
                f"{len(attributes)} attributes"
            )
            continue
        for attribute, cell in zip(attributes, row.cells, strict=True):
            if not cell:
                empty.append(f"{row.name}: {attribute}")
            elif number_in(cell) is None:
                problems.append(
                    f"{table.name}, line {row.line}: {row.name}: {attribute} is {cell!r}, and no "
                    "number"
                )
    if empty:
        problems.insert(
            0,
            f"{table.name}: {len(empty)} of {len(rows) * len(attributes)} values are empty "
            f"({listed(empty)})",
        )
    return problems


def _remarks(dataset: Dataset, of_folders: bool) -> list[str]:
    """Weaknesses of the data that do not make it invalid; `of_folders`: a folder is a class."""
    table, names, seen = dataset.semantics.attributes, dataset.semantics.names, dataset.seen
    remarks = []
    if same := [names[k] for k in np.flatnonzero(np.ptp(table, axis=0) == 0)]:
        remarks.append(
            f"{_count(same, 'attribute has', 'attributes have')} one value for all classes and "
            f"tell nothing ({listed(same)})"
        )
    new = np.flatnonzero((table[~seen] != 0).any(axis=0) & (table[seen] == 0).all(axis=0))
    if unlearned := [names[k] for k in new]:
        remarks.append(
            f"{_count(unlearned, 'attribute', 'attributes')} that no seen class has, so nothing "
            f"is learned of it ({listed(unlearned)})"
        )
    if blank := [dataset.classes[k] for k in np.flatnonzero(~table.any(axis=1))]:
        remarks.append(
            f"{_count(blank, 'class has', 'classes have')} no attribute at all ({listed(blank)})"
        )
    twins: dict[bytes, str] = {}
    for name, row in zip(dataset.classes, table, strict=True):
        if (other := twins.setdefault((row + 0.0).tobytes(), name)) != name:
            remarks.append(
                f"{other} and {name} have the same attributes and cannot be told apart by them"
            )
    images = dataset.images
    if of_folders and images and all(images.key(i).count("/") > 1 for i in range(len(images))):
        remarks.append(
            f"all images lie in folders within the class folders ({images.key(0)}, ...); classes "
            "are the folders of the first level"
        )
    tested = set(dataset.labels[dataset.split.test_seen].tolist())
    if untested := [dataset.classes[k] for k in np.flatnonzero(seen) if k not in tested]:
        remarks.append(
            f"{_count(untested, 'seen class has', 'seen classes have')} too few images for a test "
            f"image ({listed(untested)})"
        )
    return remarks


def _count(things: Sequence[str], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
