"""Your own data: a folder of images, a CSV of class attributes, and one YAML card that joins them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from zslkit.config import Config, FeatureConfig, build
from zslkit.data.folder_table import read_class_table
from zslkit.data.folder_tree import class_folders, hold_out, photos_of
from zslkit.data.images import SUFFIXES, FileImages
from zslkit.data.words import read_word_vectors
from zslkit.dataset import Dataset
from zslkit.errors import DataError, UserError, did_you_mean
from zslkit.files import check_permitted, read_small, recover
from zslkit.layers import Settings, merge, read_yaml
from zslkit.semantics import Semantics


class FolderCard(Config):
    """What a card says. Paths are relative to the card and stay in its folder, or are absolute."""

    kind: Literal["folder"] = "folder"
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    images: str = Field(description="folder with one folder of images for each class")
    attributes: str = Field(description="CSV: a class in each row, its name first; the header names the attributes")
    unseen: list[str] | str = Field(description="names of the unseen classes, or a text file with one a line")
    title: str = ""
    semantics: Literal["attributes", "sentences"] = Field("attributes", description="what the CSV holds; sentences: embeddings of text")
    groups: dict[str, list[str]] = Field({}, description="attribute group -> attribute names")
    word_vectors: str | None = Field(None, description="file of attribute word vectors: .pkl, .npy, .txt, .vec")
    test_seen_share: float = Field(0.2, gt=0, lt=1, description="share of each seen class's images that is held out as test_seen")
    seed: int = Field(0, ge=0, description="seed of that split")
    licence: str = ""
    citation: str = ""
    features: dict[str, Any] = Field({}, description="the dataset's own settings for the section features")


def card_settings(path: Path) -> Settings:
    """The keys of a card of any kind. Raises UserError if there is no card at `path`, or it is no YAML."""
    path = Path(path)
    recover(path.parent)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file; name the dataset card itself")
    if not path.is_file():
        raise UserError(f"There is no dataset card {path}; check the path, or list the registered datasets with: zslkit datasets")
    return merge([read_yaml(path)])


def read_card(path: Path) -> FolderCard:
    """The card in a YAML file. Raises UserError that names the key that is missing, unknown or wrong."""
    card = build(FolderCard, card_settings(path), str(path))
    build(FeatureConfig, Settings(dict(card.features)), f"{path}: features")
    return card


def card_defaults(path: Path) -> dict[str, Any]:
    """The card's own settings for the section `features`, read without its data. Raises what `read_card` raises."""
    return dict(read_card(path).features)


def load_folder(path: Path) -> Dataset:
    """The Dataset that the card at `path` describes; same card and files, same split.

    Classes stand in the order of the CSV, images in sorted path order (`hold_out` makes the split).
    Raises UserError or DataError that names the card and what does not fit.
    """
    path = Path(path)
    card = read_card(path)
    home = inside(path, "images", card.images)
    if not home.is_dir():
        raise DataError(f"{path}: images: there is no folder {home}; it holds one folder of images for each class")
    table = read_class_table(file_of(path, "attributes", card.attributes))
    folders = _join(path, table.classes, class_folders(home), home)
    unseen = _unseen(path, card, table.classes)
    photos = {k: photos_of(home, folder) for k, folder in enumerate(folders)}
    for k, found in photos.items():
        if not found:
            raise DataError(
                f"{path}: the class folder {home / folders[k]} holds no image ({', '.join(SUFFIXES)}); add some or remove the class"
            )
    pairs = sorted((photo, k) for k, found in photos.items() for photo in found)
    labels = np.array([k for _, k in pairs], dtype=np.int64)
    split = hold_out(labels, [k for k in range(len(folders)) if k not in unseen], sorted(unseen), card.test_seen_share, card.seed)
    if not len(split.test_seen):
        raise DataError(f"{path}: test_seen_share = {card.test_seen_share} holds out no image of such small classes; make it larger")
    words = None if card.word_vectors is None else read_word_vectors(file_of(path, "word_vectors", card.word_vectors), table.attributes)
    return Dataset(
        name=card.name,
        classes=table.classes,
        labels=labels,
        split=split,
        semantics=Semantics(
            table.values, table.attributes, group_columns(path, card.groups, table.attributes, card.attributes), words, card.semantics
        ),
        images=FileImages(home, [photo for photo, _ in pairs]),
        title=card.title or card.name,
        defaults=card.features,
    )


def inside(card: Path, key: str, value: str) -> Path:
    """The path that `value` means in a card. Raises DataError if it is relative and leads out of the card's folder."""
    if Path(value).is_absolute():
        return Path(value)
    try:
        folder = card.parent.resolve()
        target = (folder / value).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise DataError(f"{card}: {key} = {value!r} leads round in a loop of links; name the file itself") from error
    except ValueError as error:
        raise DataError(f"{card}: {key} = {value!r} cannot be a path ({error}); write one") from error
    if not target.is_relative_to(folder):
        raise DataError(f"{card}: {key} = {value!r} leads out of the card's folder; write the absolute path if that is meant")
    return target


def file_of(card: Path, key: str, value: str) -> Path:
    """The same, and a file. Raises DataError if there is none."""
    file = inside(card, key, value)
    if not file.is_file():
        raise DataError(f"{card}: {key}: there is no file {file}; check the path, which is relative to the card")
    return file


def same_name(name: str) -> str:
    """A class name as the CSV and the folders are joined by it."""
    # Some file systems take accented letters apart, so that equal names have unequal bytes.
    return unicodedata.normalize("NFC", name.strip())


def _join(card: Path, classes: Sequence[str], folders: Sequence[str], home: Path) -> list[str]:
    """The folder of each class, joined by name."""
    by_name = {same_name(folder): folder for folder in folders}
    missing = [c for c in classes if same_name(c) not in by_name]
    strange = sorted(set(by_name) - {same_name(c) for c in classes})
    if missing or strange:
        sides = []
        if missing:
            sides.append(f"{len(missing)} classes of {card.name}'s CSV have no folder in {home} ({_some(missing)})")
        if strange:
            sides.append(f"{len(strange)} folders there have no row in the CSV ({_some(strange)})")
        near = get_close_matches(missing[0], strange, n=1) if missing else []
        hint = f"; is {missing[0]!r} the folder {near[0]!r}?" if near else "; give both the same names"
        raise DataError(f"{card}: {' and '.join(sides)}{hint}")
    return [by_name[same_name(c)] for c in classes]


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(n) for n in names[:5]) + (", ..." if len(names) > 5 else "")


def _unseen(path: Path, card: FolderCard, classes: Sequence[str]) -> set[int]:
    if isinstance(card.unseen, str):
        file = file_of(path, "unseen", card.unseen)
        check_permitted(file)
        try:
            names = [line.strip() for line in read_small(file).splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: unseen: {file} cannot be read ({error}); save it as UTF-8 text") from error
    else:
        names = card.unseen
    number = {same_name(c): k for k, c in enumerate(classes)}
    for name in names:
        if same_name(name) not in number:
            raise DataError(f"{path}: the unseen class {name!r} has no row in {card.attributes}{did_you_mean(name, classes)}")
    unseen = {number[same_name(name)] for name in names}
    if not unseen or len(unseen) == len(classes):
        raise DataError(f"{path}: {len(unseen)} of {len(classes)} classes are unseen; some must be, and some must not")
    return unseen


def group_columns(path: Path, groups: Mapping[str, Sequence[str]], attributes: Sequence[str], table: str) -> dict[str, tuple[int, ...]]:
    """Columns of each group of a card. Raises DataError if a name is no attribute of the file `table`, or stands in two groups."""
    column = {name: k for k, name in enumerate(attributes)}
    owner: dict[str, str] = {}
    for group, names in groups.items():
        for name in names:
            if name not in column:
                raise DataError(
                    f"{path}: groups: {group!r} holds {name!r}, which is no attribute in {table}{did_you_mean(name, attributes)}"
                )
            if name in owner:
                raise DataError(f"{path}: groups: the attribute {name!r} stands in {owner[name]!r} and in {group!r}; leave it in one")
            owner[name] = group
    return {group: tuple(column[name] for name in names) for group, names in groups.items()}
