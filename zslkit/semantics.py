"""Class semantics: the class-attribute table, attribute names and groups, and word vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError

Normalisation = Literal["l2", "none", "original"]
"""Scale of the class attributes.

l2: each class divided by its L2 norm (`att` of the proposed splits). none: the dataset's own scale,
0..100 on CUB and AWA, 0..1 on SUN and aPY (`original_att`). original: same as none."""


@dataclass(frozen=True)
class Semantics:
    """The class-attribute table and its columns.

    Attributes:
        attributes: `(C, A)` float32 on the dataset's own scale; unknown values are 0.
        names: Names of the A attributes.
        groups: Group name -> column indices; groups do not overlap.
        word_vectors: `(A, W)` float32, one per attribute, or None.
        kind: "attributes", or "sentences" for text embeddings. Tables mark the two, because they
            are different tasks.
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
        """The same semantics for a subset of classes, in the given order."""
        return replace(self, attributes=self.attributes[classes])

    def fingerprint(self) -> str:
        """Digest of kind, attributes and word vectors, 16 hex digits."""
        digest = hashlib.sha256(self.kind.encode())
        digest.update(np.ascontiguousarray(self.attributes, dtype="<f4").tobytes())
        if self.word_vectors is not None:
            digest.update(np.ascontiguousarray(self.word_vectors, dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    def normalised(self, how: Normalisation = "l2") -> NDArray[np.float32]:
        """Class-attribute table `(C, A)` float32, scaled as `how` says.

        No other scaling, shift or clipping. With l2, an all-zero row stays zero.
        """
        table = self.attributes.astype(np.float64)
        if how == "l2":
            norm = np.linalg.norm(table, axis=1, keepdims=True)
            table = np.divide(table, norm, out=np.zeros_like(table), where=norm > 0)
        return table.astype(np.float32)
