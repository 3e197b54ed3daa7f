"""Datasets of the user's own photos: image folders, a CSV of class attributes, and a YAML card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from zslkit.config import Config, FeatureConfig, build
from zslkit.config.merge import Settings, merge, read_yaml
from zslkit.dataset import Dataset
from zslkit.datasets.attribute_table import read_class_table
from zslkit.datasets.image_list import read_image_list
from zslkit.datasets.photo_sets import CardPhotos, from_folders, from_list
from zslkit.errors import DataError, UserError, did_you_mean
from zslkit.readers.images import FileImages
from zslkit.readers.names import match, refuse_clash, same_look, shown
from zslkit.readers.word_vectors import read_word_vectors
from zslkit.semantics import Semantics
from zslkit.utils.files import check_permitted, read_small, recover


class FolderCard(Config):
    """Contents of a card.

    Relative paths start at the folder of the card and must stay inside it; absolute paths are
    allowed.
    """

    kind: Literal["folder"] = "folder"
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    images: str = Field(
        description=(
            "folder with one folder of images for each class, or a CSV with the columns path, "
            "label and, where wanted, split (trainval, test_seen, test_unseen)"
        )
    )
    attributes: str = Field(
        description="CSV: a class in each row, its name first; the header names the attributes"
    )
    unseen: list[str] | str | None = Field(
        None,
        description=(
            "names of the unseen classes, or a text file with one a line; needed unless a list "
            "of images states the split"
        ),
    )
    title: str = ""
    semantics: Literal["attributes", "sentences"] = Field(
        "attributes", description="what the CSV holds; sentences: embeddings of text"
    )
    groups: dict[str, list[str]] = Field({}, description="attribute group -> attribute names")
    word_vectors: str | None = Field(
        None, description="file of attribute word vectors: .pkl, .npy, .txt, .vec"
    )
    test_seen_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of each seen class's images that is held out as test_seen",
    )
    seed: int = Field(0, ge=0, description="seed of that split")
    licence: str = ""
    citation: str = ""
    features: dict[str, Any] = Field(
        {}, description="the dataset's own settings for the section features"
    )


def card_settings(path: Path) -> Settings:
    """Read the keys of a card of any kind.

    Raises:
        UserError: There is no card at `path`, or it is not YAML.
    """
    path = Path(path)
    recover(path.parent)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file; name the dataset card itself")
    if not path.is_file():
        raise UserError(
            f"There is no dataset card {path}; check the path, or list the registered datasets "
            "with: zslkit datasets"
        )
    return merge([read_yaml(path)])


def read_card(path: Path) -> FolderCard:
    """Read and validate a card.

    Raises:
        UserError: Names the key that is missing, unknown or invalid.
    """
    card = build(FolderCard, card_settings(path), str(path))
    build(FeatureConfig, Settings(dict(card.features)), f"{path}: features")
    return card


def card_defaults(path: Path) -> dict[str, Any]:
    """Settings of the card for the section `features`; the data are not read.

    Raises:
        UserError: As `read_card`.
    """
    return dict(read_card(path).features)


def load_folder(path: Path) -> Dataset:
    """Load the dataset that a card describes; the same card and files give the same split.

    Classes are in the order of the CSV. Photos of folders are in sorted path order, those of a list
    in its order. `hold_out` makes the split unless a list states it.

    Raises:
        UserError: Names the invalid key of the card.
        DataError: Names the card and the data that do not match it.
    """
    path = Path(path)
    card = read_card(path)
    table = read_class_table(file_of(path, "attributes", card.attributes))
    refuse_clash(path, f"classes of {card.attributes}", table.classes)
    photos = _photos(path, card, table.classes)
    words = (
        None
        if card.word_vectors is None
        else read_word_vectors(file_of(path, "word_vectors", card.word_vectors), table.attributes)
    )
    return Dataset(
        name=card.name,
        classes=table.classes,
        labels=photos.labels,
        split=photos.split,
        semantics=Semantics(
            table.values,
            table.attributes,
            group_columns(path, card.groups, table.attributes, card.attributes),
            words,
            card.semantics,
        ),
        images=FileImages(photos.home, photos.paths),
        title=card.title or card.name,
        defaults=card.features,
        notes=photos.notes,
    )


def inside(card: Path, key: str, value: str) -> Path:
    """Resolve a path that a card states.

    Args:
        card: Path of the card.
        key: Key of the card, for errors.
        value: The path as stated.

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
    """Resolve a path that a card states, as `inside`, and check that it is a file.

    Raises:
        DataError: As `inside`, or there is no such file.
    """
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
        return from_folders(path, place, classes, unseen, card.test_seen_share, card.seed)
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
    return from_list(path, found, classes, unseen, card.test_seen_share, card.seed)


def unseen_names(path: Path, card: FolderCard) -> list[str]:
    """Names of the unseen classes as a card states them; none if it leaves them to a list.

    Raises:
        DataError: The file of names cannot be read.
    """
    if isinstance(card.unseen, str):
        file = file_of(path, "unseen", card.unseen)
        check_permitted(file)
        try:
            return [line.strip() for line in read_small(file).splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: unseen: {file} cannot be read ({error}); save it as UTF-8 text"
            ) from error
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
                f"{card.attributes}{did_you_mean(name, classes)}"
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
    """Columns of each attribute group of a card.

    Args:
        path: Path of the card, for errors.
        groups: Group -> attribute names.
        attributes: A attribute names.
        table: Name of the CSV file, for errors.

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
