"""Words that a user hangs on a run: kept beside its record, which itself never changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from zslkit.errors import CannotWrite, DataError, UserError
from zslkit.files import parse_json, read_small, replacing

TAGS = "tags.json"
_WORD = re.compile(r"[\w.+-]{1,40}")


def read_tags(folder: Path) -> tuple[str, ...]:
    """The run folder's tags in alphabetical order. Raises DataError if the file is damaged."""
    place = folder / TAGS
    try:
        said = parse_json(read_small(place))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise DataError(f"{place} cannot be read ({error}); remove it and tag the run again") from error
    if not isinstance(said, list) or not all(isinstance(tag, str) and _WORD.fullmatch(tag) for tag in said):
        raise DataError(f"{place} is no list of tags; remove it and tag the run again")
    return tuple(sorted(set(said)))


def change_tags(folder: Path, add: str | None = None, drop: str | None = None) -> tuple[str, ...]:
    """The tags after one was added or taken away. Raises UserError for a word that is no tag or that the run does not have, CannotWrite."""
    tags = set(read_tags(folder))
    if add is not None:
        if not _WORD.fullmatch(add):
            raise UserError(f"{add!r} is no tag; take up to 40 letters, digits and . _ + -")
        tags.add(add)
    if drop is not None:
        if drop not in tags:
            raise UserError(f"{folder} has no tag {drop!r}; it has {', '.join(sorted(tags)) or 'none'}")
        tags.remove(drop)
    try:
        with replacing(folder / TAGS) as beside:
            beside.write_text(json.dumps(sorted(tags), ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CannotWrite(f"{folder / TAGS} cannot be written ({error.strerror or error}); check the folder's permissions") from error
    return tuple(sorted(tags))
