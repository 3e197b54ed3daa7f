"""Tags of a run, set by the user; kept beside the record, which never changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from zslkit.errors import DataError, UserError
from zslkit.readers.faults import writing
from zslkit.runs.folders import lock_of
from zslkit.utils.files import check_permitted, parse_json, read_small, write_text
from zslkit.utils.locks import acquired

TAGS = "tags.json"
_WORD = re.compile(r"[\w.+-]{1,40}")


def read_tags(folder: Path) -> tuple[str, ...]:
    """The run's tags in alphabetical order; DataError if the file is damaged."""
    place = folder / TAGS
    check_permitted(place)
    try:
        tags = parse_json(read_small(place))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{place} cannot be read ({error}); remove it and tag the run again"
        ) from error
    if not isinstance(tags, list) or not all(
        isinstance(tag, str) and _WORD.fullmatch(tag) for tag in tags
    ):
        raise DataError(f"{place} is no list of tags; remove it and tag the run again")
    return tuple(sorted(set(tags)))


def change_tags(
    folder: Path,
    add: str | None = None,
    drop: str | None = None,
    on_wait: Callable[[str], object] = lambda sentence: None,
) -> tuple[str, ...]:
    """Add or remove a tag, and return the tags afterwards.

    Under the run's lock, so that processes do not undo each other's changes; `on_wait` gets a
    sentence before this one waits.

    Raises:
        UserError: `add` is not a valid tag, or the run does not have `drop`.
        CannotWrite: The folder cannot be written.
    """
    if add is not None and not _WORD.fullmatch(add):
        raise UserError(f"{add!r} is no tag; take up to 40 letters, digits and . _ + -")
    sentence = f"Another process works on {folder}; this one waits until it is done"
    what, mend = f"{folder / TAGS} cannot be written", "check the folder's permissions"
    with writing(what, mend), acquired(lock_of(folder), on_wait, sentence):
        tags = set(read_tags(folder))
        if add is not None:
            tags.add(add)
        if drop is not None:
            if drop not in tags:
                has = ", ".join(sorted(tags)) or "none"
                raise UserError(f"{folder} has no tag {drop!r}; it has {has}")
            tags.remove(drop)
        text = json.dumps(sorted(tags), ensure_ascii=False) + "\n"
        write_text(folder / TAGS, text)
    return tuple(sorted(tags))
