"""Search for photos in a folder: which files count, and why others do not; used by all commands."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zslkit.errors import listed
from zslkit.readers.image_file import endings, extra_for

_QUIET = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_QUIET_FOLDERS = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"})
"""Files and folders (lower case) of operating systems, skipped silently like hidden files."""

LEADS_OUT = "linked out of the folder"
BROKEN = "linked to nothing"
AGAIN = "linked to what counts already"
NO_CLASS = "in no folder of a class"
UNREADABLE = "a folder that cannot be read"
NO_FILE = "neither file nor folder"
NO_ENDING = "without an ending"

_NAMED = 3


@dataclass(frozen=True)
class Photos:
    """Photos and other files of a folder. All paths are relative to it, with "/" as separator."""

    paths: tuple[str, ...]  # Photos that count, sorted
    # Path of a file that does not count -> its extension if that is the reason, else the reason
    # in words
    others: Mapping[str, str] = field(default_factory=dict)
    # Link -> the counted path with the same target
    again: Mapping[str, str] = field(default_factory=dict)

    def of(self, folder: str) -> list[str]:
        """Photos in and below one folder."""
        return [path for path in self.paths if path.startswith(f"{folder}/")]

    def torn(self) -> tuple[str, str] | None:
        """Two paths in different top-level folders with the same target, None if there are none."""
        pairs = self.again.items()
        return next((p for p in pairs if p[0].split("/")[0] != p[1].split("/")[0]), None)

    def note(self) -> str:
        """Number of files that do not count, by extension or reason; "" if all count."""
        return left_words(self.others)


def find_photos(home: Path, folders: Sequence[str] | None = None) -> Photos:
    """Find the photos in and below `home`, or in some of its top-level folders alone.

    A link counts if its target is below `home`; each file counts once. Hidden files and files of
    operating systems are skipped silently, and photos beside `folders` do not count.
    """
    walk = _Walk(Path(os.path.realpath(home)), home)
    if folders is None:
        walk.enter("", walk.root)
    else:
        for name in sorted(os.listdir(home)):
            if not quiet(name) and not (home / name).is_dir():
                walk.others[name] = NO_CLASS if ending(name) in endings() else _why(name)
        for folder in folders:
            if (home / folder).is_symlink():
                walk.links.append(folder)
            else:
                walk.enter(folder, walk.root / folder)
    walk.follow()
    return Photos(tuple(sorted(walk.reals.values())), dict(sorted(walk.others.items())), walk.again)


def folders_in(home: Path) -> list[str]:
    """Sorted names of the folders in `home`, with links to folders, without skipped ones."""
    return sorted(
        name
        for name in os.listdir(home)
        if not quiet(name) and (home / name).is_dir() and name.lower() not in _QUIET_FOLDERS
    )


def quiet(name: str) -> bool:
    """Whether a file of this name is skipped silently."""
    return name.startswith(".") or name.lower() in _QUIET


def ending(name: str) -> str:
    """Extension of a name, in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def left_words(others: Mapping[str, str]) -> str:
    """Summary of Photos.others, such as "5 files do not count: 3 .txt, 2 .heic (...)"."""
    if not others:
        return ""
    count = Counter(others.values())
    parts = []
    for why, n in sorted(count.items(), key=lambda item: (-item[1], item[0])):
        if why.startswith("."):
            extra = extra_for(why)
            parts.append(f"{n} {why}" + (f" (to read them: {extra})" if extra else ""))
        else:
            names = [path for path, reason in others.items() if reason == why]
            parts.append(f"{n} {why} ({listed(names, _NAMED)})")
    total = len(others)
    mend = "; copy into the folder what is linked out of it" if LEADS_OUT in count else ""
    return (
        f"{total} {'file does' if total == 1 else 'files do'} not count: {', '.join(parts)}{mend}"
    )


def _why(path: str) -> str:
    """Reason for which a file does not count."""
    return ending(path) or NO_ENDING


class _Walk:
    """Search below `root`, the real path of the folder `home`; others and again as in Photos.

    Attributes:
        reals: Real path of a photo that counts -> its path relative to `home`.
        links: Links that are not followed yet.
        entered: Real path of a searched folder -> its path relative to `home`.
    """

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.home = root, home
        self.reals: dict[str, str] = {}
        self.others: dict[str, str] = {}
        self.again: dict[str, str] = {}
        self.links: list[str] = []
        self.entered: dict[str, str] = {}
        self.counts = frozenset(endings())

    def enter(self, folder: str, real: Path) -> None:
        """Search a folder; links are kept for `follow`, so that real files take precedence."""
        waiting = [(folder, str(real))]
        while waiting:
            path, where = waiting.pop()
            if where in self.entered:
                self._doubled(path, self.entered[where])
                continue
            self.entered[where] = path
            try:
                with os.scandir(where) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError:
                self.others[path or "."] = UNREADABLE
                continue
            for entry in entries:
                below = f"{path}/{entry.name}" if path else entry.name
                if quiet(entry.name):
                    continue
                if entry.is_symlink():
                    self.links.append(below)
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name.lower() not in _QUIET_FOLDERS:
                        waiting.append((below, entry.path))
                elif entry.is_file(follow_symlinks=False):
                    self._file(below, entry.path)
                else:
                    self.others[below] = NO_FILE

    def follow(self) -> None:
        """Follow all links."""
        while self.links:
            path = self.links.pop(0)
            try:
                real = (self.home / path).resolve(strict=True)
            except (OSError, RuntimeError):  # RuntimeError: a loop of links
                self.others[path] = BROKEN
                continue
            if not real.is_relative_to(self.root):
                self.others[path] = LEADS_OUT
            elif real.is_dir():
                if self.root.is_relative_to(real) or str(real) in self.entered:
                    self._doubled(path, self.entered.get(str(real), "."))
                else:
                    self.enter(path, real)
            elif real.is_file():
                self._file(path, str(real))
            else:
                self.others[path] = NO_FILE

    def _file(self, path: str, real: str) -> None:
        if ending(path) not in self.counts:
            self.others[path] = _why(path)
        elif real in self.reals:
            self._doubled(path, self.reals[real])
        else:
            self.reals[real] = path

    def _doubled(self, path: str, there: str) -> None:
        self.others[path] = AGAIN
        self.again[path] = there
