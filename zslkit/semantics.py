"""Class semantics: what is known of a class in words and numbers, seen or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError

Normalisation = Literal["l2", "none", "original"]
"""l2: each class by its L2 norm, what the proposed splits call att. none: the dataset's own values on their own scale (0 to 100 on CUB
and AWA, 0 to 1 on SUN and aPY), what they call original_att. original: another word for none."""


@dataclass(frozen=True)
class Semantics:
    """The class-attribute table and what is known of its columns.

    attributes (C, A) float32, as the dataset gives them (`normalised` scales them); a dataset in which a negative value means
    "unknown" gives 0 for it.
    names: one per attribute. groups: group name -> column indices, which cover no column twice.
    word_vectors (A, W) float32 or None. kind: "attributes", or "sentences" for embeddings of text,
    which must never stand in one table with the former unmarked (they are another task).
    """

    attributes: NDArray[np.float32]
    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    word_vectors: NDArray[np.float32] | None = None
    kind: str = "attributes"

    def __post_init__(self) -> None:
        _, width = self.attributes.shape
        if len(self.names) != width:
            raise DataError(
                f"The class-attribute table has {width} attributes and {len(self.names)} names "
                "for them"
            )
        if not np.isfinite(self.attributes).all():
            row = int(np.argwhere(~np.isfinite(self.attributes))[0][0])
            raise DataError(
                f"The class-attribute table has a value that is not finite in row {row}"
            )
        if self.word_vectors is not None and len(self.word_vectors) != width:
            raise DataError(
                f"There are {len(self.word_vectors)} word vectors for {width} attributes; they "
                "must be one to one"
            )
        columns = [c for group in self.groups.values() for c in group]
        if len(columns) != len(set(columns)) or any(not 0 <= c < width for c in columns):
            raise DataError(f"The attribute groups overlap or name a column outside 0..{width - 1}")

    def of(self, classes: NDArray[np.int64]) -> Semantics:
        """The same semantics for some of the classes, in the order given."""
        return replace(self, attributes=self.attributes[classes])

    def fingerprint(self) -> str:
        """Of kind, attributes and word vectors, 16 hex digits: what makes two results comparable."""
        digest = hashlib.sha256(self.kind.encode())
        digest.update(np.ascontiguousarray(self.attributes, dtype="<f4").tobytes())
        if self.word_vectors is not None:
            digest.update(np.ascontiguousarray(self.word_vectors, dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    def normalised(self, how: Normalisation = "l2") -> NDArray[np.float32]:
        """The table (C, A) as `how` says; nothing else is scaled, shifted or clipped. With l2 a class of zeros stays zero."""
        table = self.attributes.astype(np.float64)
        if how == "l2":
            norm = np.linalg.norm(table, axis=1, keepdims=True)
            table = np.divide(table, norm, out=np.zeros_like(table), where=norm > 0)
        return table.astype(np.float32)
