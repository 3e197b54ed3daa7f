"""What is to be settled about features of another program before anything is written: numbering, shapes, class semantics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.data.cards import AttributeCard, shipped_card
from zslkit.data.feature_files import TABLES, Found
from zslkit.data.folder_table import read_class_table
from zslkit.data.stream import Stream
from zslkit.dataset import Index
from zslkit.errors import DataError, UserError, did_you_mean

SHIPPED = ("CUB", "SUN", "AWA2")
"""Datasets whose attribute names and groups come with zslkit."""


@dataclass(frozen=True)
class ClassAttributes:
    """C class names, A attribute names, values (C, A) float32, groups by attribute names, and what was done to get them."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    groups: dict[str, list[str]]
    notes: tuple[str, ...] = ()


def from_zero(path: Path, what: str, numbers: NDArray[Any], count: int, of: str, base: int | None, stated: int | None) -> Index:
    """Numbers of `count` images or classes, counted from 0.

    The range tells what they are counted from if it holds 0 or `count`; stated: what the format says; base: what the user says.
    Raises DataError if they are no such numbers, contradict what is said, or leave open what they are counted from.
    """
    if not numbers.size or numbers.dtype.kind not in "iuf" or (numbers != np.floor(numbers)).any():
        raise DataError(f"{path}: {what} should be whole numbers of {of}; mend them")
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high > count or (low == 0 and high == count):
        raise DataError(f"{path}: {what} run from {low} to {high}, and there are {count} {of}; are they of one dataset?")
    told = 0 if low == 0 else 1 if high == count else None
    if stated is not None and told is not None and told != stated:
        raise DataError(f"{path}: {what} run from {low} to {high} of {count} {of}, and in this format they count from {stated}; mend them")
    if base is not None and (stated if told is None else told) not in (None, base):
        raise DataError(f"{path}: {what} run from {low} to {high} of {count} {of}, so they do not count from {base}; leave --base away")
    start = next((b for b in (told, stated, base) if b is not None), None)
    if start is None:
        raise DataError(f"{path}: {what} run from {low} to {high} of {count} {of}, which may be from 0 or from 1; say --base 0 or --base 1")
    return numbers.astype(np.int64) - start


def feature_shape(path: Path, stream: Stream, count: int) -> tuple[int, ...]:
    """(N, D) of pooled features or (N, D, H, W) of maps, of `count` labels. Raises DataError that says what to save instead."""
    shape = stream.shape
    if len(shape) == 2 and shape[0] != count == shape[1]:
        raise DataError(f"{path}: the features have the shape {shape} for {count} labels; save them transposed, an image a row")
    if not shape or shape[0] != count:
        raise DataError(f"{path}: the features have the shape {shape} and there are {count} labels; are they of one dataset?")
    if 0 in shape:
        raise DataError(f"{path}: the features have the shape {shape} and hold nothing; make the file again")
    if len(shape) == 3:
        side = math.isqrt(shape[2])
        if side * side != shape[2]:
            raise DataError(
                f"{path}: the features have the shape {shape}, and {shape[2]} positions are no square; save them as (N, D, H, W)"
            )
        return (*shape[:2], side, side)
    if len(shape) == 4 and shape[1] == shape[2] < shape[3]:
        raise DataError(f"{path}: the features have the shape {shape} with the channels last; save them as (N, D, H, W)")
    if len(shape) not in (2, 4):
        raise DataError(f"{path}: the features have the shape {shape}; they should be (N, D), (N, D, R) or (N, D, H, W)")
    return shape


def class_attributes(
    found: Found, csv: Path | None, table: str | None, like: str | None, sentences: bool, wide: int | None
) -> ClassAttributes:
    """The class-attribute table: from the CSV if there is one, else from the file.

    table: which of the file's two. like: whose attribute names and groups. wide: number of word vectors, to tell a transposed table.
    Raises UserError or DataError that says what to give.
    """
    if csv is not None:
        read = read_class_table(csv)
        order = list(range(len(read.classes)))
        if found.classes is not None:  # the file's numbers are rows of its own list of names
            row = {name: k for k, name in enumerate(read.classes)}
            if lost := [name for name in found.classes if name not in row]:
                raise DataError(f"{csv}: {len(lost)} classes of {found.path} have no row ({lost[0]!r}, ...){did_you_mean(lost[0], row)}")
            order = [row[name] for name in found.classes]
        card = _card(like, len(read.attributes), read.attributes)
        return ClassAttributes(tuple(read.classes[k] for k in order), read.attributes, read.values[order], _groups(card))
    if not found.tables:
        raise DataError(
            f"{found.path} holds no {' or '.join(TABLES)}; give class attributes with --attributes FILE.csv or --split FILE.mat"
        )
    chosen = table or next(name for name in TABLES if name in found.tables)
    if chosen not in found.tables:
        raise UserError(f"{found.path} holds no {chosen}; it has {', '.join(found.tables)}")
    values = found.tables[chosen]
    if wide is not None and values.shape[1] != wide == values.shape[0]:
        raise DataError(f"{found.path}: {chosen} has the shape {values.shape} with the attributes first; save it transposed, a class a row")
    with np.errstate(over="ignore"):
        kept = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(kept).all():
        raise DataError(f"{found.path}: {chosen} holds a number that is not finite; mend it")
    notes = [f"class attributes: {chosen}"]
    if not sentences and (unknown := int((kept < 0).sum())) and chosen == "original_att":
        notes.append(f"{unknown} negative entries of {chosen} mean unknown and became 0")
        kept = np.maximum(kept, 0)
    classes = found.classes or tuple(f"class {k + 1}" for k in range(len(kept)))
    if len(classes) != len(kept):
        raise DataError(f"{found.path}: {len(classes)} class names but {len(kept)} rows in {chosen}; are they of one dataset?")
    card = _card(like, kept.shape[1])
    if card is None and (near := [n for n in SHIPPED if (c := shipped_card(n)) is not None and len(c.names) == kept.shape[1]]):
        notes.append(f"the attributes have no names; if they are those of {near[0]}, --like {near[0].lower()} names and groups them")
    names = card.names if card is not None else tuple(f"attribute {k + 1}" for k in range(kept.shape[1]))
    return ClassAttributes(tuple(c.strip() for c in classes), names, kept, _groups(card), tuple(notes))


def _card(like: str | None, width: int, names: Sequence[str] | None = None) -> AttributeCard | None:
    if like is None:
        return None
    card = shipped_card(like.upper()) if like.upper() in SHIPPED else None
    if card is None:
        raise UserError(f"--like: zslkit brings no attribute names of {like!r}{did_you_mean(like, [n.lower() for n in SHIPPED])}")
    if len(card.names) != width or (names is not None and tuple(names) != card.names):
        raise UserError(f"--like {like}: {like} has {len(card.names)} attributes of its own names, and these are {width}; leave it away")
    return card


def _groups(card: AttributeCard | None) -> dict[str, list[str]]:
    return {} if card is None else {group: [card.names[c] for c in columns] for group, columns in card.groups.items()}
