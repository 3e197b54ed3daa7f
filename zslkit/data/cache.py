"""What lies in the cache, how large it is, when it was last used, and removing it without touching anything else.

Only what zslkit itself puts there is ever removed, and links are neither followed nor removed: the cache may be set to any folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from zslkit.errors import DataError

Kind = Literal["store", "partial store", "converted", "weights", "digest", "partial scan", "download", "leftover", "link", "unknown"]
PARTIAL: tuple[Kind, ...] = ("partial store", "partial scan", "leftover")
"""Kinds that an interruption left behind."""
KEPT: tuple[Kind, ...] = ("link", "unknown")
"""Kinds that are never removed."""

_UNFINISHED = (".new", ".part", ".partial", ".tmp")


@dataclass(frozen=True)
class Item:
    """One thing in the cache. name: its path below the cache, with '/'. size in bytes; used: seconds since 1970 of the last access.

    in_use: a process that makes it holds its lock now.
    """

    name: str
    kind: Kind
    path: Path
    size: int
    used: float
    in_use: bool = False


def contents(root: Path) -> list[Item]:
    """Everything in the cache, sorted by name; locks are not told. Empty if there is no cache."""
    if not root.is_dir():
        return []
    found: list[Item] = []
    for home in sorted(root.iterdir()):
        if home.is_symlink() or home.name not in _KINDS or not home.is_dir():
            found.append(_item(root, home, "link" if home.is_symlink() else "unknown"))
            continue
        found += [_item(root, path, _kind(home.name, path)) for path in sorted(home.iterdir()) if path.suffix != ".lock"]
    return found


_KINDS: dict[str, Kind] = {
    "features": "store",
    "xlsa17": "converted",
    "weights": "weights",
    "digests": "digest",
    "scans": "partial scan",
    "downloads": "download",
}
"""Folder of the cache -> what lies in it. converted: a res101.mat as arrays."""

_FOLDERS = ("features", "xlsa17")
"""Where each thing is a folder."""


def _kind(home: str, path: Path) -> Kind:
    if path.is_symlink():
        return "link"
    if home in _FOLDERS:
        if not path.is_dir():
            return "unknown"
        return "partial store" if path.suffix == ".partial" else _KINDS[home]
    if home == "downloads":
        return "leftover" if path.suffix in _UNFINISHED else "download"
    if not path.is_file():
        return "unknown"
    return "leftover" if path.suffix in _UNFINISHED else _KINDS[home]


def _item(root: Path, path: Path, kind: Kind) -> Item:
    stats = list(_stats(path))
    size = sum(s.st_size for s in stats)
    used = max((max(s.st_atime, s.st_mtime) for s in stats), default=0.0)
    return Item(path.relative_to(root).as_posix(), kind, path, size, used, kind not in KEPT and _held(_lock(path)))


def belongs(name: str, dataset: str) -> bool:
    """Whether the thing of that name in the cache was made for this dataset: it is called DATASET-<16 hex digits>."""
    return re.fullmatch(re.escape(dataset) + r"-[0-9a-f]{16}(\..*)?", name.rpartition("/")[2]) is not None


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of every file in or at `path`; a link counts as itself. What vanishes meanwhile is left out."""
    files = [path] if path.is_symlink() or not path.is_dir() else [Path(f, n) for f, _, names in os.walk(path) for n in names]
    for file in files or [path]:
        with suppress(OSError):
            yield file.lstat()


def _lock(path: Path) -> Path:
    whole = path.with_suffix("") if path.suffix in _UNFINISHED else path
    return whole.with_name(whole.name + ".lock")


def _held(lock: Path) -> bool:
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):  # a lock that may not be tried is taken for held
        return True


def remove(root: Path, item: Item) -> None:
    """Remove one item. Raises DataError, with nothing removed, if it is not ours, lies outside the cache, or is in use."""
    if item.kind in KEPT:
        raise DataError(f"{item.path} is {_WORDS[item.kind]}; zslkit leaves it alone, remove it yourself")
    if item.path.is_symlink() or not item.path.parent.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{item.path} leads out of the cache {root}; zslkit leaves it alone")
    lock = _lock(item.path)
    try:
        with FileLock(lock, timeout=0) if lock.is_file() else nullcontext():
            _remove(item.path)
    except Timeout:
        raise DataError(f"{item.path} is in use: a process holds {lock.name}; wait until it has finished") from None


_WORDS = {"link": "a link", "unknown": "nothing that zslkit put there"}


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Renamed first: a removal that is cut short must not leave half a store that looks like a whole one.
    gone = path.with_name(f"{path.name}.removed-{os.getpid()}.partial")
    os.replace(path, gone)
    shutil.rmtree(gone)
