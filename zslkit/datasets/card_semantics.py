"""Semantics of a card: class attributes, descriptions, attributes of photos, or several of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Index
from zslkit.datasets.attribute_table import (
    ClassTable,
    class_means,
    read_image_attributes,
    refuse_counter,
)
from zslkit.datasets.card_keys import FolderCard
from zslkit.datasets.descriptions import embed, in_order, read_descriptions, text_columns
from zslkit.datasets.photo_sets import CardPhotos
from zslkit.errors import DataError
from zslkit.semantics import Semantics

TEXT = "description"
"""Group of the columns that hold the embedding of a description beside attributes."""


@dataclass(frozen=True)
class CardSemantics:
    """What a card says of its classes."""

    table: ClassTable | None  # Attributes of the classes, None if there are none
    # (N, A) attributes of the photos; NaN where nothing is known
    per_image: NDArray[np.float32] | None = None
    texts: NDArray[np.float32] | None = None  # (C, W) embeddings of the descriptions
    encoder: str = ""  # Name and digest of the encoder of these
    notes: tuple[str, ...] = ()
    # Whether the table was made from photos, that of unseen classes from their test photos
    of_test_photos: bool = False

    def joined(
        self, kind: str, groups: dict[str, tuple[int, ...]], words: NDArray[np.float32] | None
    ) -> Semantics:
        """The semantics that models get.

        Attributes and descriptions beside each other are columns of one table, each part of a class
        divided by its L2 norm, so that neither drowns the other.
        """
        if self.texts is None:
            assert self.table is not None
            return Semantics(self.table.values, self.table.attributes, groups, words, kind)
        names = tuple(f"{TEXT} {k + 1}" for k in range(self.texts.shape[1]))
        if self.table is None:
            return Semantics(self.texts, names, {}, None, "sentences")
        width = len(self.table.attributes)
        if groups:
            groups = {**groups, TEXT: tuple(range(width, width + len(names)))}
        both = [
            Semantics(part, columns).normalised("l2")
            for part, columns in ((self.table.values, self.table.attributes), (self.texts, names))
        ]
        kind = "attributes and sentences" if kind == "attributes" else kind
        columns = (*self.table.attributes, *names)
        return Semantics(np.concatenate(both, axis=1), columns, groups, None, kind)


def gather(
    path: Path,
    card: FolderCard,
    files: dict[str, Path],
    table: ClassTable | None,
    classes: tuple[str, ...],
    photos: CardPhotos,
) -> CardSemantics:
    """Read what a card says of its C classes beside `table`, the class attributes if it names some.

    `files` maps keys of the card (image_attributes, descriptions) to their files.

    Raises:
        UserError: The encoder of descriptions is not there.
        DataError: A file does not fit the classes or photos.
    """
    notes: list[str] = []
    per_image = None
    tested = table is None and "image_attributes" in files
    if "image_attributes" in files:
        per_image, table, notes = _of_photos(files["image_attributes"], table, classes, photos)
    if "descriptions" not in files:
        return CardSemantics(table, per_image, notes=tuple(notes), of_test_photos=tested)
    file = files["descriptions"]
    sentences = in_order(file, read_descriptions(file), classes)
    if table is not None and card.word_vectors is not None:
        raise DataError(
            f"{path}: word_vectors holds a vector for each attribute, and the columns of "
            "descriptions have none; leave out one of the two"
        )
    made = embed(file, sentences, card.encoder, path.parent)
    count = sum(map(len, sentences))
    notes.append(f"{count} sentences of {len(classes)} classes, embedded by {made.encoder}")
    if len(columns := text_columns(file)) > 1:
        notes.append(f"{file.name}: texts are read from the columns {', '.join(columns)}")
    return CardSemantics(table, per_image, made.vectors, made.encoder, tuple(notes), tested)


def _of_photos(
    file: Path, table: ClassTable | None, classes: tuple[str, ...], photos: CardPhotos
) -> tuple[NDArray[np.float32], ClassTable, list[str]]:
    """Attributes of photos in the columns of the class table, and that table."""
    found = read_image_attributes(file, photos.paths)
    known: NDArray[np.bool_] = ~np.all(np.isnan(found.values), axis=1)
    refuse_counter(file, found.names, found.values[known], "photos")
    notes = []
    if table is None:
        values = class_means(file, found, photos.labels, photos.split, classes)
        refuse_counter(file, found.names, values)
        table = ClassTable(classes, found.names, values)
        unseen = len(set(photos.labels[photos.split.test_unseen].tolist()))
        notes.append(
            f"the attributes of {unseen} unseen classes are means over their own test photos, so "
            "no result is inductive; those of seen classes are means over photos of trainval; to "
            "know them otherwise, give attributes"
        )
    if set(found.names) != set(table.attributes):
        odd = sorted(set(found.names) ^ set(table.attributes))
        raise DataError(
            f"{file}: its attributes are not those of the classes ({odd[0]!r} is in one of the two "
            "alone); give both tables the same columns"
        )
    order = [found.names.index(name) for name in table.attributes]
    tested: Index = np.concatenate([photos.split.test_seen, photos.split.test_unseen])
    if lacking := int((~known[tested]).sum()):
        notes.append(
            f"{lacking} of {len(tested)} test photos have no row in {file.name} and count in no "
            "metric of attributes"
        )
    return found.values[:, order], table, notes
