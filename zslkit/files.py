"""Files that are written whole or not at all, and the folder for those that can be made again."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST = 64 << 20
"""Bytes of a text that is read whole; a record of 20,000 classes has 2 MB."""

MOST_VALUES = 1_000_000
"""Values of a JSON text. An empty list takes three bytes of it and a hundred of memory."""


def need_plain(path: Path) -> None:
    """Make sure that opening `path` does not wait for ever.

    Args:
        path: A file, or a place where there is nothing.

    Raises:
        ValueError: There is something else, such as a pipe, a device or a folder.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")


def read_small(path: Path, most: int = MOST) -> str:
    """The UTF-8 text in a file of at most `most` bytes, without the byte-order mark that some editors put before it.

    Raises OSError if it cannot be read, ValueError if it is larger, no UTF-8, or no file that has an end, such as a pipe.
    """
    need_plain(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most >> 20} MB")
    if is_utf16(content):
        raise ValueError("it is UTF-16 text; save it as UTF-8")
    return content.decode("utf-8-sig")


def is_utf16(content: bytes) -> bool:
    """Whether a text begins with the byte-order mark of UTF-16, as spreadsheets write "Unicode text"."""
    return content[:2] in (b"\xff\xfe", b"\xfe\xff")


def parse_json(text: str) -> Any:
    """What the text says. Raises ValueError if it is no JSON, or more, larger or deeper than anybody writes."""
    # Counted before it is read: what is built of it takes many times the room of the text.
    if sum(text.count(sign) for sign in ",[{") > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextmanager
def replacing(path: Path, suffix: str = ".new") -> Iterator[Path]:
    """A place beside `path` to write to; it takes the place of `path` at the end and is gone if anything fails.

    suffix: its ending, to be made unique where two processes may write at once.
    """
    beside = path.with_name(path.name + suffix)
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill; at the end it takes the place of `path` and of all in it. It is gone if anything fails.

    The caller has made sure that what is in `path` may go.
    """
    path = path.resolve()  # else a link would be replaced, and not the folder that it leads to
    name = f".{path.name}.{uuid.uuid4().hex[:8]}"
    beside, before = path.with_name(f"{name}.new"), path.with_name(f"{name}.old")
    beside.mkdir()
    try:
        yield beside
        if path.exists():
            os.replace(path, before)
        try:
            os.replace(beside, path)
        except BaseException:
            if before.exists():
                os.replace(before, path)
            raise
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(before, ignore_errors=True)


def cache_root() -> Path:
    """The cache, where feature stores live: $ZSLKIT_CACHE, else the user's cache folder."""
    if given := os.environ.get("ZSLKIT_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zslkit"
