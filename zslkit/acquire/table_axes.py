"""Whether the rows of a class-attribute table are its classes or its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError, UserError

Rows = Literal["classes", "attributes"]


class Undecided(DataError):
    """A table that may be read in two ways."""


@dataclass(frozen=True)
class Evidence:
    """What is known of the two axes beside the table.

    Args:
        classes: The number of class names, None if there are none.
        attributes: The number of attribute names or word vectors, None if there are none.
        labels: The numbers of classes that the labels may mean; empty if they tell none.
    """

    classes: int | None = None
    attributes: int | None = None
    labels: frozenset[int] = frozenset()

    def allows(self, classes: int, attributes: int) -> bool:
        """Whether a table may have these axes. A class need not have an image, so labels only set a lower limit."""
        return (
            self.classes in (None, classes)
            and self.attributes in (None, attributes)
            and classes >= min(self.labels, default=0)
        )


def class_counts(labels: NDArray[Any] | None, base: int | None) -> frozenset[int]:
    """The numbers of classes that labels (N,) may mean if the last class has an image.

    Args:
        labels: Class numbers or class names as they stand in a file.
        base: What the numbers count from, where the format or the user says so.

    Returns:
        One number, two if the labels may as well count from 0 as from 1, none if they are no labels.
    """
    if labels is None or not labels.size:
        return frozenset()
    if labels.dtype.kind == "U":
        return frozenset({len(np.unique(labels))})
    if labels.dtype.kind not in "iuf" or not np.isfinite(labels).all():
        return frozenset()
    low, high = int(labels.min()), int(labels.max())
    bases = (0,) if low == 0 else (0, 1) if base is None else (base,)
    if (
        low == 1 and base is None and len(np.unique(labels)) == high
    ):  # all classes have images if they count from 1
        bases = (1,)
    return frozenset(high + 1 - b for b in bases) if low >= 0 else frozenset()


def orient(
    path: Path,
    name: str,
    tables: Mapping[str, NDArray[Any]],
    evidence: Evidence,
    rows: Rows | None,
    form: str,
) -> tuple[NDArray[Any], str]:
    """The table (C, A), and what was done if it was turned.

    Args:
        path: The file, for messages.
        name: Which of `tables` is wanted.
        tables: The class-attribute tables of the file as (C, A), if it keeps to its format.
        evidence: What else is known of the axes.
        rows: What the user says the rows are, as the file shows them.
        form: The format of the file, as `zslkit.acquire.feature_files.FoundArrays` names it.

    Returns:
        The table, and a note, which is empty if the table stands as it was.

    Raises:
        Undecided: If both readings are possible and `rows` is None.
        UserError: If `rows` contradicts what is known.
    """
    table = tables[name]
    usual: Rows = "attributes" if form == "xlsa17" else "classes"
    other: Rows = "classes" if form == "xlsa17" else "attributes"
    shape = table.shape if usual == "classes" else table.shape[::-1]
    readings = {usual: table.shape, other: table.shape[::-1]}
    allowed = [r for r, (c, a) in readings.items() if evidence.allows(c, a)]
    if rows is not None:
        if allowed and rows not in allowed:
            raise UserError(
                f"{path}: {name} has the shape {shape}, whose rows cannot be {rows}; leave --table-rows away"
            )
        found: Rows | None = rows
    elif len(allowed) == 1:
        found = allowed[0]
    elif (
        not allowed
    ):  # what is wrong is named by who compares names, vectors and labels with the table
        found = usual
    else:
        found = _by_labels(readings, evidence) or _by_norms(tables, usual, other)
    if found is None:
        raise Undecided(
            f"{path}: {name} has the shape {shape}, and nothing shows whether its rows are classes or attributes; "
            "say --table-rows classes or --table-rows attributes"
        )
    if found == usual:
        return table, ""
    turned = f"{name} has the shape {shape}, and its rows are {found}: it was turned to {table.shape[1]} classes x {table.shape[0]}"
    return np.ascontiguousarray(table.T), f"{turned} attributes"


def _by_labels(readings: Mapping[Rows, tuple[int, ...]], evidence: Evidence) -> Rows | None:
    exact = [rows for rows, (classes, _) in readings.items() if classes in evidence.labels]
    return exact[0] if len(exact) == 1 else None


def _by_norms(tables: Mapping[str, NDArray[Any]], usual: Rows, other: Rows) -> Rows | None:
    """`att` is the table with every class scaled to length 1, so it shows which axis the classes are on."""
    if "att" not in tables:
        return None
    att = np.asarray(tables["att"], dtype=np.float64)
    unit = [bool(np.allclose(np.linalg.norm(att, axis=axis), 1, atol=1e-3)) for axis in (1, 0)]
    return None if unit[0] == unit[1] else usual if unit[0] else other
