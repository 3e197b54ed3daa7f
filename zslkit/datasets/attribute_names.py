"""Attribute names and groups, from the cards shipped with zslkit or from files of names."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import yaml

from zslkit.errors import DataError
from zslkit.utils.files import check_permitted, read_small


@dataclass(frozen=True)
class AttributeCard:
    """Names and groups of the attributes of a dataset.

    Args:
        names: A names, in the order of the columns.
        groups: Group -> column indices.
        words: Attribute name -> plain words to use for it.
    """

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    words: Mapping[str, str] = field(default_factory=dict)


def shipped_card(name: str) -> AttributeCard | None:
    """Card of a dataset ("CUB", "SUN", "AWA2") shipped with zslkit, None if there is none."""
    file = resources.files("zslkit.datasets") / "cards" / f"{name}.yaml"
    if not file.is_file():
        return None
    card = yaml.safe_load(file.read_text(encoding="utf-8"))
    groups = {
        group: tuple(c for start, stop in spans for c in range(start, stop))
        for group, spans in card["groups"].items()
    }
    return AttributeCard(tuple(card["names"]), groups, card.get("words", {}))


def read_names(path: Path) -> tuple[str, ...]:
    """Read attribute names, one a line; a `.csv` file has a header and the name in its last column.

    Numbers before the names are removed if they number the lines; in "2 wheels", "4 wheels" they
    belong to the name.

    Raises:
        DataError: The file cannot be read.
    """
    check_permitted(path)
    try:
        text = read_small(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The attribute names in {path} cannot be read ({error}); save the file as UTF-8 text"
        ) from error
    if path.suffix.lower() == ".csv":
        try:
            rows = [
                row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)
            ]
        except csv.Error as error:
            raise DataError(
                f"The attribute names in {path} cannot be read as CSV ({error}); write a name a "
                "line"
            ) from error
        return tuple(row[-1].strip() for row in rows[1:])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [re.fullmatch(r"(\d+)[.:)]?\s+(.+)", line) for line in lines]
    numbered = [(int(match[1]), match[2]) for match in found if match is not None]
    names = tuple(name for _, name in numbered)
    runs = [n for n, _ in numbered] in (list(range(len(lines))), list(range(1, len(lines) + 1)))
    return names if runs and len(set(names)) == len(lines) else tuple(lines)
