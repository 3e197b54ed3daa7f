"""Classes of imported data: their attributes and word vectors, from the file or the user's CSV."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslkit.acquire.class_join import join_rows, moved_rows
from zslkit.acquire.feature_files import TABLES, FoundArrays
from zslkit.acquire.layout import Evidence, Order, Rows, orient
from zslkit.datasets.attribute_names import SHIPPED, AttributeCard, shipped_card
from zslkit.datasets.attribute_table import read_class_table
from zslkit.errors import DataError, UserError, did_you_mean
from zslkit.readers.stream import as_float32
from zslkit.readers.word_vectors import read_word_vectors


@dataclass(frozen=True)
class Choices:
    """Options of an import."""

    name: str | None = None  # Name of the dataset; the name of its folder by default
    title: str = ""  # Title of the dataset; its name by default
    # File of the split; it has priority over the features' own file, like the next three
    split: Path | None = None
    labels: Path | None = None  # File of the labels
    attributes: Path | None = None  # CSV of the class attributes
    words: Path | None = None  # File of the word vectors
    table: str | None = None  # "att" or "original_att"
    like: str | None = None  # Shipped dataset whose attribute names and groups are used
    sentences: bool = False  # Whether the class attributes are sentence embeddings
    base: int | None = None  # First index (0 or 1), where the range of the indices is ambiguous
    # Trust the labels even if the names of the image folders contradict them
    as_labelled: bool = False
    dtype: str = "float16"  # Type of stored feature maps
    again: bool = False  # Replace an earlier import
    # Which axis of the features holds the channels, where the shape is ambiguous
    layout: Order | None = None
    # What the rows of the class attributes are, where the shape is ambiguous
    table_rows: Rows | None = None


@dataclass(frozen=True)
class ClassAttributes:
    """Class attributes of an import."""

    classes: tuple[str, ...]  # C class names
    names: tuple[str, ...]  # A attribute names
    values: NDArray[np.float32]  # (C, A) float32
    groups: dict[str, list[str]]  # Group -> attribute names
    notes: tuple[str, ...] = ()


def class_attributes(
    found: FoundArrays, choices: Choices, counts: frozenset[int], named: bool
) -> ClassAttributes:
    """Class-attribute table, from the user's CSV if given, else from the file.

    `counts` are numbers of classes that the labels may imply; for labels that are names (`named`),
    the order of rows does not matter.

    Raises:
        UserError: An option does not fit the file.
        DataError: The table is missing, contradicts other data, or is ambiguous.
    """
    like = choices.like
    if choices.attributes is not None:
        return _from_csv(found, choices.attributes, like, counts, named)
    if not found.tables:
        raise DataError(
            f"{found.path} holds no {' or '.join(TABLES)}; give class attributes with "
            "--class-attributes FILE.csv or --split FILE.mat"
        )
    if named and found.classes is None:
        raise DataError(
            f"{found.path}: the labels are names, and nothing names the rows of "
            f"{' or '.join(found.tables)}; save class_names with them, or give class attributes "
            "with --class-attributes FILE.csv"
        )
    chosen = choices.table or next(name for name in TABLES if name in found.tables)
    if chosen not in found.tables:
        raise UserError(f"{found.path} holds no {chosen}; it has {', '.join(found.tables)}")
    values, turned = orient(
        *(found.path, chosen, found.tables, _evidence(found, counts, like)),
        *(choices.table_rows, found.format),
    )
    kept = as_float32(values)
    if not np.isfinite(kept).all():
        raise DataError(f"{found.path}: {chosen} holds a number that is not finite; mend it")
    notes = [f"class attributes: {chosen}", *([turned] if turned else [])]
    if not choices.sentences and (unknown := int((kept < 0).sum())) and chosen == "original_att":
        notes.append(f"{unknown} negative entries of {chosen} mean unknown and became 0")
        kept = np.maximum(kept, 0)
    classes = found.classes or tuple(f"class {k + 1}" for k in range(len(kept)))
    if len(classes) != len(kept):
        raise DataError(
            f"{found.path}: {len(classes)} class names but {len(kept)} rows in {chosen}; are they "
            "of one dataset?"
        )
    card = _card(like, kept.shape[1], found.attributes)
    if found.attributes is not None and len(found.attributes) != kept.shape[1]:
        raise DataError(
            f"{found.path}: {len(found.attributes)} attribute names for {kept.shape[1]} "
            f"attributes in {chosen}; are they of one dataset?"
        )
    if card is not None:
        names = card.names
    elif found.attributes is not None:
        names = tuple(name.strip() for name in found.attributes)
    else:
        names = tuple(f"attribute {k + 1}" for k in range(kept.shape[1]))
        cards = ((name, shipped_card(name)) for name in SHIPPED)
        near = next((name for name, c in cards if c and len(c.names) == kept.shape[1]), None)
        if near is not None:
            notes.append(
                f"the attributes have no names; if they are those of {near}, --like "
                f"{near.lower()} names and groups them"
            )
    return ClassAttributes(
        tuple(c.strip() for c in classes), names, kept, _groups(card), tuple(notes)
    )


def _evidence(found: FoundArrays, counts: frozenset[int], like: str | None) -> Evidence:
    """Facts that decide which axis of a table holds the classes."""
    columns = found.attributes if found.attributes is not None else found.words
    if columns is None and (card := shipped_card((like or "").upper())) is not None:
        columns = card.names
    classes = None if found.classes is None else len(found.classes)
    return Evidence(classes, None if columns is None else len(columns), counts)


def _from_csv(
    found: FoundArrays, csv: Path, like: str | None, counts: frozenset[int], named: bool
) -> ClassAttributes:
    """Class attributes from the user's CSV."""
    read = read_class_table(csv)
    own = {}
    for name in found.tables:
        with suppress(DataError):  # an unused table that is ambiguous cannot serve as a check
            own[name] = orient(
                found.path, name, found.tables, _evidence(found, counts, like), None, found.format
            )[0]
    order = list(range(len(read.classes)))
    notes = [f"class attributes: {csv.name}, joined by the names that the labels are"]
    if not named:
        if found.classes is None and found.sealed:
            raise DataError(
                f"{found.path}: {found.sealed[0]} holds objects that are not read, and the rows "
                f"of {csv.name} are joined by it; save it as texts, such as numpy.array(names, "
                "dtype=str)"
            )
        order, notes = join_rows(csv, read, found.path, found.classes, counts, own)
    card = _card(like, len(read.attributes), read.attributes)
    values = read.values[order]
    if found.words is not None and found.attributes is None:
        for name, table in own.items():
            if moved_rows(table.T, values.T) is not None:
                raise DataError(
                    f"{csv}: its columns are those of {name} in {found.path} in another order, "
                    "and w2v_att holds a vector for each column there; sort the columns as they "
                    "are there, or give other vectors with --words FILE"
                )
    return ClassAttributes(
        tuple(read.classes[k] for k in order), read.attributes, values, _groups(card), tuple(notes)
    )


def _card(like: str | None, width: int, names: Sequence[str] | None = None) -> AttributeCard | None:
    """Attribute card that the option --like names."""
    if like is None:
        return None
    card = shipped_card(like.upper())
    if card is None:
        raise UserError(
            "--like: zslkit brings no attribute names of "
            f"{like!r}{did_you_mean(like, [n.lower() for n in SHIPPED])}"
        )
    if len(card.names) != width or (names is not None and tuple(names) != card.names):
        raise UserError(
            f"--like {like}: {like} has {len(card.names)} attributes of its own names, and these "
            f"are {width}; leave it away"
        )
    return card


def _groups(card: AttributeCard | None) -> dict[str, list[str]]:
    if card is None:
        return {}
    return {group: [card.names[c] for c in columns] for group, columns in card.groups.items()}


def attribute_vectors(
    found: FoundArrays, table: ClassAttributes, choices: Choices
) -> NDArray[np.float32] | None:
    """Word vectors (A, W) of the attributes, None if there are none."""
    if choices.words is not None:
        return read_word_vectors(choices.words, table.names)
    if found.words is None:
        return None
    vectors = as_float32(found.words)
    names = None if found.attributes is None else [name.strip() for name in found.attributes]
    if choices.attributes is not None and names is not None and len(names) == len(vectors):
        row = {name: k for k, name in enumerate(names)}
        if missing := [name for name in table.names if name not in row]:
            raise DataError(
                f"{choices.attributes}: w2v_att in {found.path} has no vector of {len(missing)} "
                f"attributes ({missing[0]!r}){did_you_mean(missing[0], row)}"
            )
        vectors = vectors[[row[name] for name in table.names]]
    if len(vectors) != len(table.names) or not np.isfinite(vectors).all():
        raise DataError(
            f"{found.path}: w2v_att holds {len(vectors)} vectors for {len(table.names)} "
            "attributes, or numbers that are not finite; give others with --words FILE"
        )
    return vectors
