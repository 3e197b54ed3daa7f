"""Attribute names and groups, from the cards shipped with zslkit or from files of names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from zslkit.readers.csv_file import read_csv
from zslkit.readers.names import same_name
from zslkit.utils.files import lines_of, read_text

SHIPPED = ("CUB", "SUN", "AWA2")
"""Datasets whose attribute names and groups are shipped with zslkit."""


@dataclass(frozen=True)
class AttributeCard:
    """Names and groups of the attributes of a dataset."""

    names: tuple[str, ...]  # A names, in the order of the columns
    groups: Mapping[str, tuple[int, ...]]  # Group -> column indices
    # Attribute name -> plain words to use for it
    words: Mapping[str, str] = field(default_factory=dict)


def shipped_card(name: str) -> AttributeCard | None:
    """Card of a dataset ("CUB", "SUN", "AWA2") shipped with zslkit, None if there is none."""
    if name not in SHIPPED:
        return None
    file = resources.files("zslkit.datasets") / "cards" / f"{name}.yaml"
    card = yaml.safe_load(file.read_text(encoding="utf-8"))
    groups = {
        group: tuple(c for start, stop in spans for c in range(start, stop))
        for group, spans in card["groups"].items()
    }
    return AttributeCard(tuple(card["names"]), groups, card.get("words", {}))


def shipped_columns(names: Sequence[str]) -> tuple[str, tuple[int, ...]] | None:
    """Shipped dataset with attributes of these names and no others, in any order, if there is one.

    Case, punctuation and underscores do not count. With the name of the dataset comes the place of
    each of its attributes among `names`.
    """
    column = {_plain(name): k for k, name in enumerate(names)}
    for dataset in SHIPPED:
        known = _shipped_names(dataset)
        if len(known) == len(names) and column.keys() == set(known):
            return dataset, tuple(column[name] for name in known)
    return None


@cache
def _shipped_names(dataset: str) -> tuple[str, ...]:
    card = shipped_card(dataset)
    return tuple(map(_plain, card.names)) if card is not None else ()


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\W_]+", same_name(name))).strip()


def read_names(path: Path) -> tuple[str, ...]:
    """Read attribute names, one a line; a `.csv` file has a header and the name in its last column.

    Numbers before the names are removed if they number the lines; in "2 wheels", "4 wheels" they
    belong to the name.

    Raises:
        DataError: The file cannot be read.
    """
    if path.suffix.lower() == ".csv":
        return tuple(cells[-1] for _, cells in read_csv(path, "a table of attribute names")[1:])
    what = f"The attribute names in {path}"
    lines = lines_of(read_text(path, what, "save the file as UTF-8 text"))
    found = [re.fullmatch(r"(\d+)[.:)]?\s+(.+)", line) for line in lines]
    numbered = [(int(match[1]), match[2]) for match in found if match is not None]
    names = tuple(name for _, name in numbered)
    runs = [n for n, _ in numbered] in (list(range(len(lines))), list(range(1, len(lines) + 1)))
    return names if runs and len(set(names)) == len(lines) else tuple(lines)
