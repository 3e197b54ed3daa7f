"""Datasets of imported features: the arrays and YAML card that `zslkit data import` writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zslkit.config import Config, build
from zslkit.dataset import Dataset, Split
from zslkit.datasets.attribute_table import read_class_table
from zslkit.datasets.card import file_of, group_columns, inside
from zslkit.datasets.card_keys import Card, card_settings, check_features
from zslkit.errors import DataError, UserError
from zslkit.features.store import FeatureStore
from zslkit.readers.npy import open_npy
from zslkit.readers.word_vectors import empty_words, read_word_vectors
from zslkit.semantics import Semantics

KIND = "features"
CARD = "card.yaml"


class SplitFiles(Config):
    """Image indices (0-based) of each part of the split, in .npy files."""

    trainval: str = "trainval.npy"
    test_seen: str = "test_seen.npy"
    test_unseen: str = "test_unseen.npy"


class ImportSource(Config):
    """Origin of the features."""

    file: str = Field(description="name of the file that was imported")
    format: str = Field(description="whose format it has")
    digest: str = Field(
        description="sha256: and the file's digest", pattern=r"^sha256:[0-9a-f]{64}$"
    )


class ImportedCard(Card):
    """Contents of a card of imported features."""

    kind: Literal["features"]
    maps: str | None = Field(
        None, description="folder of a feature store: maps (N, D, H, W) and their means"
    )
    pooled: str | None = Field(
        None, description=".npy of pooled features (N, D) float32, where there are no maps"
    )
    labels: str = Field(
        "labels.npy", description=".npy of class numbers (N,), from 0, rows of the class attributes"
    )
    split: SplitFiles = SplitFiles()
    attributes: str = Field(
        "attributes.csv",
        description="CSV: a class in each row, its name first; the header names the attributes",
    )
    source: ImportSource


def read_card(path: Path) -> ImportedCard:
    """Read and validate a card; raises UserError, which names the missing or invalid key."""
    card = build(ImportedCard, card_settings(path), str(path))
    if (card.maps is None) == (card.pooled is None):
        raise UserError(
            f"{path}: a card of features names either maps (the folder of a store) or pooled (a "
            ".npy file)"
        )
    check_features(path, card)
    return card


def fingerprint(digest: str, shape: tuple[int, ...], dtype: str, layout: str = "") -> str:
    """Cache key over all inputs of imported features, 16 hex digits.

    Args:
        digest: Digest of the imported file.
        shape: Shape of the features as stored.
        layout: How the axes were changed; "" if they were not.
    """
    facts = [digest, list(shape), dtype, *([layout] if layout else [])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def load_imported(path: Path, card: ImportedCard) -> Dataset:
    """Load the dataset that the card at `path` describes; its features stay on disk.

    Raises:
        DataError: Names the card or file that does not fit.
    """
    table = read_class_table(file_of(path, "attributes", card.attributes))
    words = None
    if card.word_vectors is not None:
        file = file_of(path, "word_vectors", card.word_vectors)
        words = read_word_vectors(file, table.attributes)
    groups = group_columns(path, card.groups, table.attributes, card.attributes)
    parts = {
        part: _numbers(file_of(path, f"split.{part}", name))
        for part, name in card.split.model_dump().items()
    }
    dataset: dict[str, Any] = {}
    if card.maps is not None:
        dataset["maps"] = FeatureStore(inside(path, "maps", card.maps))
    else:
        features = _pooled(file_of(path, "pooled", str(card.pooled)))
        digest = fingerprint(card.source.digest, features.shape, "float32")
        dataset = {"features": features, "features_digest": digest}
    return Dataset(
        name=card.name,
        classes=table.classes,
        labels=_numbers(file_of(path, "labels", card.labels)),
        split=Split(**parts),
        semantics=Semantics(table.values, table.attributes, groups, words, card.semantics),
        title=card.title or card.name,
        defaults=card.features,
        origin=f"{card.source.file} ({card.source.format}, {card.source.digest[:23]})",
        notes=empty_words(table.attributes, words),
        **dataset,
    )


def _pooled(path: Path) -> NDArray[np.float32]:
    stream = open_npy(path)  # its errors explain the damage; those of numpy do not
    if stream.dtype != np.float32 or len(stream.shape) != 2:
        raise DataError(
            f"{path}: pooled features are float32 (N, D), and these are {stream.dtype} "
            f"{stream.shape}; import them again"
        )
    features: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return features


def _numbers(path: Path) -> NDArray[np.int64]:
    stream = open_npy(path)
    if stream.dtype.kind not in "iu" or len(stream.shape) != 1:
        raise DataError(
            f"{path}: numbers of images or classes are whole and in a row, and these are "
            f"{stream.dtype} {stream.shape}"
        )
    return stream.whole().astype(np.int64)
