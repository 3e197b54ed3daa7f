"""Datasets of the user's own photos: image folders, a CSV of class attributes, and a YAML card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from zslkit.dataset import Dataset
from zslkit.datasets.attribute_table import (
    ClassTable,
    read_class_table,
    refuse_counter,
    refuse_side,
)
from zslkit.datasets.card_keys import FolderCard
from zslkit.datasets.card_semantics import gather
from zslkit.datasets.descriptions import read_descriptions
from zslkit.datasets.image_list import read_image_list
from zslkit.datasets.photo_sets import CardPhotos, folders_of, from_folders, from_list
from zslkit.errors import DataError, UserError, did_you_mean
from zslkit.readers.images import FileImages
from zslkit.readers.names import match, refuse_clash, same_look, shown
from zslkit.readers.word_vectors import empty_words, read_word_vectors
from zslkit.utils.files import lines_of, read_text


def load_folder(path: Path, card: FolderCard) -> Dataset:
    """Load the dataset that the card at `path` describes; the same files give the same split.

    Classes are in the order of the CSV. Photos of folders are in sorted path order, those of a list
    in its order. `hold_out` makes the split unless a list states it.

    Raises:
        DataError: Names the card and the data that do not match it.
    """
    files = {
        key: file_of(path, key, value)
        for key in ("attributes", "descriptions", "image_attributes", "word_vectors")
        if (value := getattr(card, key)) is not None
    }
    table = read_class_table(files["attributes"]) if "attributes" in files else None
    if table is not None:
        refuse_counter(files["attributes"], table.attributes, table.values)
    classes = _classes(path, card, files, table)
    refuse_clash(path, f"classes of {card.attributes or card.descriptions or card.images}", classes)
    photos = _photos(path, card, classes)
    said = gather(path, card, files, table, classes, photos)
    groups: dict[str, tuple[int, ...]] = {}
    words, empty = None, tuple[str, ...]()
    if said.table is not None:
        origin = files["attributes" if table is not None else "image_attributes"]
        sides = (photos.labels[part] for part in (photos.split.trainval, photos.split.test_unseen))
        refuse_side(origin, said.table.attributes, said.table.values, *sides)
        source = card.attributes or card.image_attributes or ""
        groups = group_columns(path, card.groups, said.table.attributes, source)
        if "word_vectors" in files:
            words = read_word_vectors(files["word_vectors"], said.table.attributes)
            empty = empty_words(said.table.attributes, words)
    return Dataset(
        name=card.name,
        classes=classes,
        labels=photos.labels,
        split=photos.split,
        semantics=said.joined(card.semantics, groups, words),
        images=FileImages(photos.home, photos.paths),
        title=card.title or card.name,
        defaults=card.features,
        notes=(*photos.notes, *said.notes, *empty),
        image_attributes=said.per_image,
        encoder=said.encoder,
        of_test_photos=said.of_test_photos,
    )


def _classes(
    path: Path, card: FolderCard, files: Mapping[str, Path], table: ClassTable | None
) -> tuple[str, ...]:
    """Names of the classes, in the order of the table or descriptions, else sorted."""
    if table is not None:
        return table.classes
    if "descriptions" in files:
        return tuple(read_descriptions(files["descriptions"]))
    place = inside(path, "images", card.images)
    if place.is_dir():
        return tuple(folders_of(path, place))
    return tuple(read_image_list(file_of(path, "images", card.images)).classes())


def inside(card: Path, key: str, value: str) -> Path:
    """Resolve a path that a card states.

    Raises:
        DataError: The path is relative and leads out of the card's folder, or is no valid path.
    """
    try:
        folder = card.parent.resolve()
        target = (folder / value).resolve()
    # RuntimeError: a loop of links; ValueError: a null byte.
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{card}: {key} = {value!r} is no path that leads anywhere ({error}); write another"
        ) from error
    if target == target.parent:
        raise DataError(
            f"{card}: {key} = {value!r} is the root of the file system; name the folder that is "
            "meant"
        )
    if Path(value).is_absolute():
        return Path(value)
    if not target.is_relative_to(folder):
        raise DataError(
            f"{card}: {key} = {value!r} leads out of the card's folder; write the absolute path "
            "if that is meant"
        )
    return target


def file_of(card: Path, key: str, value: str) -> Path:
    """Resolve a path that a card states, as `inside`; raises DataError if it is no file."""
    file = inside(card, key, value)
    if not file.is_file():
        raise DataError(
            f"{card}: {key}: there is no file {file}; check the path, which is relative to the card"
        )
    return file


def _photos(path: Path, card: FolderCard, classes: Sequence[str]) -> CardPhotos:
    """Photos of a card, from folders or from a list."""
    place = inside(path, "images", card.images)
    if not place.is_file() and place.suffix.lower() != ".csv" and not place.is_dir():
        raise DataError(
            f"{path}: images: there is no folder {place}; it holds one folder of images for each "
            "class"
        )
    unseen = None if card.unseen is None else _unseen(path, card, classes)
    if place.is_dir():
        if unseen is None:
            raise UserError(f"{path} lacks 'unseen'; add it")
        return from_folders(path, card, place, classes, unseen)
    found = read_image_list(file_of(path, "images", card.images))
    if found.parts and (idle := sorted({"test_seen_share", "seed"} & card.model_fields_set)):
        raise UserError(
            f"{path}: {' and '.join(idle)} would change nothing, since {card.images} states the "
            "split; remove it here, or the column split there"
        )
    if unseen is None and not found.parts:
        raise UserError(
            f"{path} lacks 'unseen'; add it, or a column split to {card.images} with "
            "trainval, test_seen or test_unseen for each photo"
        )
    return from_list(path, card, found, classes, unseen)


def unseen_names(path: Path, card: FolderCard) -> list[str]:
    """Names of the unseen classes as a card states them; none if it leaves them to a list.

    Raises:
        DataError: The file of names cannot be read.
    """
    if isinstance(card.unseen, str):
        file = file_of(path, "unseen", card.unseen)
        return lines_of(read_text(file, f"{path}: unseen: {file}", "save it as UTF-8 text"))
    return card.unseen or []


def _unseen(path: Path, card: FolderCard, classes: Sequence[str]) -> set[int]:
    """Ids of the unseen classes of a card that names some."""
    names = unseen_names(path, card)
    refuse_clash(path, "unseen classes", dict.fromkeys(names))
    number, joined = {c: k for k, c in enumerate(classes)}, match(names, classes)
    for name in names:
        if name not in joined:
            raise DataError(
                f"{path}: the unseen class {shown(name)} has no row in "
                f"{card.attributes or card.descriptions or card.image_attributes}"
                f"{did_you_mean(name, classes)}"
            )
    unseen = {number[joined[name]] for name in names}
    if not unseen or len(unseen) == len(classes):
        raise DataError(
            f"{path}: {len(unseen)} of {len(classes)} classes are unseen; some must be, and some "
            "must not"
        )
    return unseen


def group_columns(
    path: Path, groups: Mapping[str, Sequence[str]], attributes: Sequence[str], table: str
) -> dict[str, tuple[int, ...]]:
    """Columns of each attribute group (group -> attribute names) of a card.

    Raises:
        DataError: A name is not an attribute, or is in two groups.
    """
    column = {name: k for k, name in enumerate(attributes)}
    owner: dict[str, str] = {}
    columns: dict[str, tuple[int, ...]] = {}
    for group, names in groups.items():
        joined = match(names, attributes, same_look)
        for name in names:
            if name not in joined:
                raise DataError(
                    f"{path}: groups: {group!r} holds {name!r}, which is no attribute in "
                    f"{table}{did_you_mean(name, attributes)}"
                )
            if (column_name := joined[name]) in owner:
                raise DataError(
                    f"{path}: groups: the attribute {name!r} stands in {owner[column_name]!r} and "
                    f"in {group!r}; leave it in one"
                )
            owner[column_name] = group
        columns[group] = tuple(column[joined[name]] for name in names)
    return columns
