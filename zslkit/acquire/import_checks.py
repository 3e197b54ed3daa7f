"""Checks of imported data before anything is written: index base and class semantics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.acquire.class_join import join_rows, moved_rows
from zslkit.acquire.feature_files import TABLES, FoundArrays
from zslkit.acquire.table_axes import Evidence, Rows, orient
from zslkit.dataset import Index
from zslkit.datasets.attribute_names import SHIPPED, AttributeCard, shipped_card
from zslkit.datasets.attribute_table import read_class_table
from zslkit.errors import DataError, UserError, did_you_mean


@dataclass(frozen=True)
class ClassAttributes:
    """Class attributes of an import.

    Args:
        classes: C class names.
        names: A attribute names.
        values: (C, A) float32.
        groups: Group -> attribute names.
        notes: Notes on how they were obtained.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    groups: dict[str, list[str]]
    notes: tuple[str, ...] = ()


def from_zero(
    path: Path,
    what: str,
    numbers: NDArray[Any],
    count: int,
    of: str,
    base: int | None,
    stated: int | None,
) -> Index:
    """Convert indices of images or classes to 0-based.

    The range decides the base if it contains 0 or `count`; otherwise `stated` or `base` does.

    Args:
        path: File, for errors.
        what: Name of the indices, for errors.
        numbers: (N,) indices.
        count: Number of images or classes.
        of: "images" or "classes", for errors.
        base: First index according to the user.
        stated: First index according to the format.

    Raises:
        DataError: They are not such indices, contradict `base` or `stated`, or their base is
            ambiguous.
    """
    refuse_odd(path, what, of, numbers)
    low, high = int(numbers.min()), int(numbers.max())
    if high > count or (low == 0 and high == count):
        place = ""
        if high > count:
            beyond = numbers > count
            place = (
                f" ({int(beyond.sum())} of {len(numbers)} are outside, the first at place "
                f"{int(beyond.argmax())}, counted from 0)"
            )
        most = high if high < 10**12 else f"{high:.3g}"
        raise DataError(
            f"{path}: {what} run from {low} to {most}, and there are {count} {of}{place}; are "
            "they of one dataset?"
        )
    implied = 0 if low == 0 else 1 if high == count else None
    if stated is not None and implied is not None and implied != stated:
        raise DataError(
            f"{path}: {what} run from {low} to {high} of {count} {of}, and in this format they "
            f"count from {stated}; mend them"
        )
    if base is not None and (stated if implied is None else implied) not in (None, base):
        raise DataError(
            f"{path}: {what} run from {low} to {high} of {count} {of}, so they do not count from "
            f"{base}; leave --base away"
        )
    start = next((b for b in (implied, stated, base) if b is not None), None)
    if start is None:
        raise DataError(
            f"{path}: {what} run from {low} to {high} of {count} {of}, which may be from 0 or "
            "from 1; say --base 0 or --base 1"
        )
    return numbers.astype(np.int64) - start


def refuse_odd(path: Path, what: str, of: str, numbers: NDArray[Any]) -> None:
    """Check that numbers (N,) can be indices, whatever their base.

    Raises:
        DataError: Shows the first number that is not finite, not whole, or negative.
    """
    should = f"{path}: {what} should be whole numbers of {of}"
    if not numbers.size:
        raise DataError(f"{should}, and there are none; mend the file")
    if numbers.dtype.kind not in "iuf":
        raise DataError(f"{should}, and these are {numbers.dtype}; mend them")
    kinds = (
        (~np.isfinite(numbers), "not finite"),
        (numbers != np.floor(numbers), "not whole"),
        (numbers < 0, "negative"),
    )
    for mask, fault in kinds:
        if mask.any():
            k = int(mask.argmax())
            raise DataError(
                f"{should}, and {int(mask.sum())} of {len(numbers)} are {fault} ({numbers[k]:g} "
                f"at place {k}, counted from 0); mend them"
            )


def class_attributes(
    found: FoundArrays,
    csv: Path | None = None,
    table: str | None = None,
    like: str | None = None,
    sentences: bool = False,
    counts: frozenset[int] = frozenset(),
    rows: Rows | None = None,
    named: bool = False,
) -> ClassAttributes:
    """Class-attribute table, from the CSV if given, else from the file.

    Args:
        found: Contents of the file.
        csv: The user's own table, which has priority.
        table: Name of the table in the file.
        like: Shipped dataset whose attribute names and groups are used.
        sentences: Whether the table holds sentence embeddings, whose negative numbers are valid.
        counts: Numbers of classes that the labels may imply.
        rows: What the rows of the file's table are, according to the user.
        named: Whether the labels are class names, so that the order of rows does not matter.

    Raises:
        UserError: An option does not fit the file.
        DataError: The table is missing, contradicts other data, or is ambiguous.
    """
    if csv is not None:
        return _from_csv(found, csv, like, counts, named)
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
    chosen = table or next(name for name in TABLES if name in found.tables)
    if chosen not in found.tables:
        raise UserError(f"{found.path} holds no {chosen}; it has {', '.join(found.tables)}")
    values, turned = orient(
        found.path, chosen, found.tables, _evidence(found, counts, like), rows, found.format
    )
    with np.errstate(over="ignore"):
        kept = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(kept).all():
        raise DataError(f"{found.path}: {chosen} holds a number that is not finite; mend it")
    notes = [f"class attributes: {chosen}", *([turned] if turned else [])]
    if not sentences and (unknown := int((kept < 0).sum())) and chosen == "original_att":
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
        if near := [
            n
            for n in SHIPPED
            if (c := shipped_card(n)) is not None and len(c.names) == kept.shape[1]
        ]:
            notes.append(
                f"the attributes have no names; if they are those of {near[0]}, --like "
                f"{near[0].lower()} names and groups them"
            )
    return ClassAttributes(
        tuple(c.strip() for c in classes), names, kept, _groups(card), tuple(notes)
    )


def _evidence(found: FoundArrays, counts: frozenset[int], like: str | None) -> Evidence:
    """Facts that decide which axis of a table holds the classes."""
    wide = (
        len(found.attributes)
        if found.attributes is not None
        else None
        if found.words is None
        else len(found.words)
    )
    card = (
        shipped_card(like.upper())
        if wide is None and like is not None and like.upper() in SHIPPED
        else None
    )
    return Evidence(
        None if found.classes is None else len(found.classes),
        len(card.names) if card is not None else wide,
        counts,
    )


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
    order, notes = (
        list(range(len(read.classes))),
        [f"class attributes: {csv.name}, joined by the names that the labels are"],
    )
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
    card = shipped_card(like.upper()) if like.upper() in SHIPPED else None
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
    return (
        {}
        if card is None
        else {group: [card.names[c] for c in columns] for group, columns in card.groups.items()}
    )
