"""Listing and removal of items in the cache.

The cache may be set to any folder, so only items that zslkit is proven to have made
(`cache_marks`) are removed, and links are neither followed nor removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from zslkit.acquire.cache_marks import HOMES, Kind, files_of, kind_of
from zslkit.errors import DataError
from zslkit.utils.files import BEGUN, why
from zslkit.utils.locks import is_held

PARTIAL: tuple[Kind, ...] = ("partial store", "partial scan", "leftover")
"""Kinds left behind by an interruption."""
KEPT: tuple[Kind, ...] = ("link", "foreign")
"""Kinds that are never removed."""


@dataclass(frozen=True)
class CacheItem:
    """One item of the cache."""

    name: str  # Path relative to the cache, with "/" as separator
    kind: Kind
    path: Path
    size: int  # Bytes
    used: float  # Time of the last access or change, in seconds since 1970
    in_use: bool = False  # Whether a process holds the lock of the item


def contents(root: Path) -> list[CacheItem]:
    """All items of the cache, sorted by name, without empty lock files."""
    if not root.is_dir():
        return []
    found: list[CacheItem] = []
    for home in sorted(root.iterdir()):
        readable = home.is_dir() and os.access(home, os.R_OK | os.X_OK)
        if home.is_symlink() or home.name not in HOMES or not readable:
            found.append(_item(root, home, "link" if home.is_symlink() else "foreign"))
            continue
        for path in sorted(home.iterdir()):
            plain = path.is_file() and not path.is_symlink()
            if path.suffix == ".lock" and plain and path.stat().st_size == 0:
                continue
            found.append(_item(root, path, kind_of(home.name, path)))
            if found[-1].kind in ("store", "converted"):
                notes = (file for file in files_of(path) if file.suffix == ".new")
                found += [_item(root, note, "leftover") for note in notes]
    return found


def _item(root: Path, path: Path, kind: Kind) -> CacheItem:
    stats = list(_stats(path))
    size = sum(s.st_size for s in stats)
    used = max((max(s.st_atime, s.st_mtime) for s in stats), default=0.0)
    in_use = kind not in KEPT and is_held(_lock(path))
    return CacheItem(path.relative_to(root).as_posix(), kind, path, size, used, in_use)


def belongs(name: str, dataset: str) -> bool:
    """Whether an item was made for a dataset: its name is DATASET-<16 hex digits>."""
    pattern = re.escape(dataset) + r"-[0-9a-f]{16}(\..*)?"
    return re.fullmatch(pattern, name.rpartition("/")[2]) is not None


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Stats of every file in or at `path`; links are not followed, vanished files are skipped."""
    files = [] if path.is_symlink() else os.walk(path)
    for file in [Path(f, n) for f, _, names in files for n in names] or [path]:
        with suppress(OSError):
            yield file.lstat()


def _lock(path: Path) -> Path:
    """Lock file of the process that makes the item at `path`, or left it unfinished."""
    name = path.name
    if (begun := BEGUN.fullmatch(name)) is not None:
        name = begun["name"]
    elif path.suffix == ".partial":
        name = re.sub(r"(\.removed-.*)?\.partial$", "", name)
    return path.with_name(f"{name}.lock")


def remove(root: Path, item: CacheItem) -> None:
    """Remove one item.

    Raises:
        DataError: The item is not zslkit's, lies outside the cache, or is in use; nothing is
            removed.
    """
    if item.kind in KEPT:
        raise DataError(
            f"{item.path} is {_WORDS[item.kind]}; zslkit leaves it alone, remove it yourself"
        )
    if item.path.is_symlink() or not item.path.parent.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{item.path} leads out of the cache {root}; zslkit leaves it alone")
    home = Path(item.name).parts[0]
    if item.path.parent.name == home and kind_of(home, item.path) != item.kind:
        raise DataError(
            f"{item.path} has changed since it was listed; zslkit leaves it alone, give the "
            "command again"
        )
    lock = _lock(item.path)
    try:
        with FileLock(lock, timeout=0) if lock.is_file() else nullcontext():
            _remove(item.path)
    except Timeout:
        raise DataError(
            f"{item.path} is in use: a process holds {lock.name}; wait until it has finished"
        ) from None
    except OSError as error:
        raise DataError(
            f"{item.path} cannot be removed ({why(error)}); check its permissions"
        ) from error


_WORDS = {"link": "a link", "foreign": "nothing that zslkit is known to have put there"}


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Renamed first: an interrupted removal must not leave half a store that looks complete.
    trash = path.with_name(f"{path.name}.removed-{os.getpid()}.partial")
    os.rename(path, trash)
    for file in files_of(trash):
        file.unlink()
    for folder in sorted((f for f in trash.rglob("*") if f.is_dir()), reverse=True):
        folder.rmdir()
    trash.rmdir()  # fails if other files were added
