"""Where the parts of a dataset are looked for, and which of them are there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """what: "photos", say. path: where it is, or where it would be looked for first. size: bytes, None if it is not there."""

    what: str
    path: Path
    size: int | None
    files: int = 0

    @property
    def there(self) -> bool:
        return self.size is not None

    def as_json(self) -> dict[str, Any]:
        return {"what": self.what, "path": str(self.path), "there": self.there, "bytes": self.size, "files": self.files}


def look(places: Mapping[str, tuple[Path, ...]], measure: bool = True) -> list[Place]:
    """The first place of each that exists. measure: count bytes and files of folders, which takes a moment for many photos."""
    found = []
    for what, paths in places.items():
        path = next((p for p in paths if p.exists()), None)
        found.append(Place(what, paths[0], None) if path is None else _measured(what, path, measure))
    return found


def _measured(what: str, path: Path, measure: bool) -> Place:
    if path.is_file():
        return Place(what, path, path.stat().st_size, 1)
    size = files = 0
    for folder, _, names in os.walk(path) if measure else ():
        for name in names:
            size += os.lstat(os.path.join(folder, name)).st_size
            files += 1
    return Place(what, path, size, files)
