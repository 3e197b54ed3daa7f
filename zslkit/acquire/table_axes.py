"""Orientation of a class-attribute table: whether its rows are classes or attributes."""

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
    """The orientation of a table is ambiguous."""


@dataclass(frozen=True)
class Evidence:
    """Facts about the two axes, from other data; None or empty where unknown.

    Args:
        classes: Number of class names.
        attributes: Number of attribute names or word vectors.
        labels: Numbers of classes that the labels may imply.
    """

    classes: int | None = None
    attributes: int | None = None
    labels: frozenset[int] = frozenset()

    def allows(self, classes: int, attributes: int) -> bool:
        """Whether a table may have these axes.

        Labels only set a lower limit: a class need not have an image.
        """
        fits = self.classes in (None, classes) and self.attributes in (None, attributes)
        return fits and classes >= min(self.labels, default=0)


def orient(
    path: Path,
    name: str,
    tables: Mapping[str, NDArray[Any]],
    evidence: Evidence,
    rows: Rows | None,
    form: str,
) -> tuple[NDArray[Any], str]:
    """Return the table as (C, A).

    Args:
        tables: Class-attribute tables of the file, (C, A) if it follows its format.
        evidence: Facts about the axes, from other data.
        rows: What the rows in the file are, according to the user.
        form: Format of the file, as in `zslkit.acquire.feature_files.FoundArrays`.

    Returns:
        The table, and a note, "" if the table was not transposed.

    Raises:
        Undecided: The orientation is ambiguous and `rows` is None.
        UserError: `rows` contradicts the evidence.
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
                f"{path}: {name} has the shape {shape}, whose rows cannot be {rows}; leave "
                "--table-rows away"
            )
        found: Rows | None = rows
    elif len(allowed) == 1:
        found = allowed[0]
    elif not allowed:  # the caller reports which names, vectors or labels do not fit
        found = usual
    else:
        found = _by_labels(readings, evidence) or _by_norms(tables, usual, other)
    if found is None:
        raise Undecided(
            f"{path}: {name} has the shape {shape}, and nothing shows whether its rows are "
            "classes or attributes; say --table-rows classes or --table-rows attributes"
        )
    if found == usual:
        return table, ""
    return np.ascontiguousarray(table.T), (
        f"{name} has the shape {shape}, and its rows are {found}: it was turned to "
        f"{table.shape[1]} classes x {table.shape[0]} attributes"
    )


def _by_labels(readings: Mapping[Rows, tuple[int, ...]], evidence: Evidence) -> Rows | None:
    """Orientation whose number of classes is the one that the labels imply."""
    exact = [rows for rows, (classes, _) in readings.items() if classes in evidence.labels]
    return exact[0] if len(exact) == 1 else None


def _by_norms(tables: Mapping[str, NDArray[Any]], usual: Rows, other: Rows) -> Rows | None:
    """Orientation by `att`, in which every class has length 1."""
    if "att" not in tables:
        return None
    att = np.asarray(tables["att"], dtype=np.float64)
    unit = [bool(np.allclose(np.linalg.norm(att, axis=axis), 1, atol=1e-3)) for axis in (1, 0)]
    return None if unit[0] == unit[1] else usual if unit[0] else other
