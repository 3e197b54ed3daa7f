"""Where the parts of a dataset are looked for, and which of them are there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST = 200_000
"""Files, and folders, of a folder that are counted; a card may name any folder, and some have no
end."""


@dataclass(frozen=True)
class Place:
    """Where something, such as "photos", is, or would be looked for first; size: bytes, None if it
    is not there; more: there are more files, which are not counted."""

    what: str
    path: Path
    size: int | None
    files: int = 0
    more: bool = False

    @property
    def there(self) -> bool:
        return self.size is not None

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "path": str(self.path),
            "there": self.there,
            "bytes": self.size,
            "files": self.files,
            "more": self.more,
        }


def look(places: Mapping[str, tuple[Path, ...]], measure: bool = True) -> list[Place]:
    """The first place of each that exists. measure: count bytes and files of folders, which takes a
    moment for many photos."""
    found = []
    for what, paths in places.items():
        path = next((p for p in paths if p.exists()), None)
        found.append(_measured(what, path, measure) if path else Place(what, paths[0], None))
    return found


def _measured(what: str, path: Path, measure: bool) -> Place:
    if path.is_file():
        return Place(what, path, path.stat().st_size, 1)
    size = files = 0
    for folders, (folder, _, names) in enumerate(os.walk(path) if measure else ()):
        for name in names:
            with suppress(OSError):  # it may be gone by now
                size += os.lstat(os.path.join(folder, name)).st_size
            files += 1
        if max(files, folders) > MOST:
            return Place(what, path, size, files, more=True)
    return Place(what, path, size, files)
