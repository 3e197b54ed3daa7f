"""Files that are written whole or not at all, and the folder for those that can be made again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def cache_root() -> Path:
    """The cache, where feature stores live: $ZSLKIT_CACHE, else the user's cache folder."""
    if given := os.environ.get("ZSLKIT_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zslkit"
