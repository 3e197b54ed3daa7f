"""What in the cache is zslkit's own: proven by the names that it gives and by what it writes, and never by the folder alone.

The cache may be set to any folder, such as one with data, weights and a thesis in folders that are called like the cache's.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from zslkit.utils.files import BEGUN, MADE, MOST, parse_json

Kind = Literal[
    "store",
    "partial store",
    "converted",
    "weights",
    "digest",
    "unreadable",
    "partial scan",
    "leftover",
    "link",
    "foreign",
]

_NAMED = re.compile(r".+-(?P<key>[0-9a-f]{16})", re.DOTALL)
_HEX = re.compile(r"(mat-)?[0-9a-f]{16,64}")
_REMOVED = re.compile(r"(?P<whole>.+)\.removed-\d+", re.DOTALL)
_STORE = frozenset(["manifest.json", "maps.npy", "pooled.npy"])
_CONVERTED = frozenset(["manifest.json", "features.npy", "labels.npy"])
_LINE = 300
"""Characters of a digest, at most; a plugin may have its own."""


def kind_of(home: str, path: Path) -> Kind:
    """What lies at `path`, which is in the folder `home` of the cache. foreign: nothing proves that zslkit put it there."""
    if path.is_symlink():
        return "link"
    with suppress(OSError, ValueError):
        if home in _PROOFS:
            kind, proof = _PROOFS[home]
            if (found := BEGUN.fullmatch(path.name)) is not None and found["end"] == "new":
                return "leftover" if path.is_file() and _is_name(home, found["name"]) else "foreign"
            if re.fullmatch(r".+\.\d+\.new", path.name):  # as earlier versions named them
                return (
                    "leftover"
                    if path.is_file() and _is_name(home, path.name.rsplit(".", 2)[0])
                    else "foreign"
                )
            if proof(path):
                return kind
        if home in _FOLDERS and path.is_dir():
            names = _FOLDERS[home]
            if path.suffix == ".partial" and _is_unfinished(home, path.stem, path, names):
                return "partial store"
            if _is_whole(home, path, names):
                return "store" if home == "features" else "converted"
    return "foreign"


def files_of(path: Path) -> list[Path]:
    """The files of a store or of a converted file, and nothing else that may have come to lie there since."""
    return [
        file for file in path.iterdir() if file.name in _STORE | _CONVERTED or _is_note(file.name)
    ]


def _is_name(home: str, name: str) -> bool:
    if home == "weights":
        return (
            name.endswith(".safetensors")
            and _NAMED.fullmatch(name.removesuffix(".safetensors")) is not None
        )
    ending = {"digests": "", "unreadable": ".json", "scans": ".npz"}[home]
    return name.endswith(ending) and _HEX.fullmatch(name.removesuffix(ending)) is not None


def _is_note(name: str) -> bool:
    return (
        name == "done" or re.fullmatch(r"(done|manifest\.json)\.[0-9a-f-]+\.new", name) is not None
    )


def _plain(path: Path, names: frozenset[str]) -> bool:
    """Whether the folder holds plain files of these names alone, and arrays where a name says so."""
    return all(
        (file.name in names or _is_note(file.name))
        and not file.is_symlink()
        and file.is_file()
        and _fits(file)
        for file in path.iterdir()
    )


def _fits(file: Path) -> bool:
    if file.suffix != ".npy":
        return True
    with _opened(file) as content:
        return content.read(6) in (b"", b"\x93NUMPY")


def _opened(file: Path) -> IO[bytes]:
    """The file, opened without a trace where the system can: a look at the cache is no use of what lies in it."""

    def opener(name: str, flags: int) -> int:
        with suppress(PermissionError):  # only the owner may
            return os.open(name, flags | getattr(os, "O_NOATIME", 0))
        return os.open(name, flags)

    return open(file, "rb", opener=opener)


def _json(file: Path) -> Any:
    with _opened(file) as content:
        return parse_json(content.read(MOST).decode())


def _is_unfinished(home: str, stem: str, path: Path, names: frozenset[str]) -> bool:
    if removed := _REMOVED.fullmatch(stem):
        stem = removed["whole"].removesuffix(".partial")
    named = _NAMED.fullmatch(stem) if home == "features" else re.fullmatch(r"[0-9a-f]{16}", stem)
    return named is not None and _plain(path, names)


def _is_whole(home: str, path: Path, names: frozenset[str]) -> bool:
    named = _NAMED.fullmatch(path.name)
    key = named["key"] if home == "features" and named else path.name
    said = _json(path / "manifest.json")
    if not isinstance(said, Mapping) or not isinstance(said.get("schema"), int):
        return False
    ours = (
        said.get("key") == key
        if home == "features"
        else re.fullmatch("[0-9a-f]{16}", key) and str(said.get("sha256"))[:16] == key
    )
    return bool(ours) and _plain(path, names)


def _is_weights(path: Path) -> bool:
    if not (path.is_file() and _is_name("weights", path.name)):
        return False
    with _opened(path) as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= os.fstat(file.fileno()).st_size - 8:
            return False
        header: Any = json.loads(file.read(min(size, 64 << 20)))
    if not isinstance(header, dict):
        return False
    # Earlier versions wrote no metadata; the lock under which they did stays beside.
    return (
        header["__metadata__"] == MADE
        if "__metadata__" in header
        else Path(f"{path}.lock").is_file()
    )


def _is_digest(path: Path) -> bool:
    if not (path.is_file() and _is_name("digests", path.name) and path.stat().st_size <= 4 * _LINE):
        return False
    with _opened(path) as file:
        text = file.read(4 * _LINE).decode()
    return 0 < len(text) <= _LINE and text.isprintable() and " " not in text


def _is_unreadable(path: Path) -> bool:
    if not (path.is_file() and _is_name("unreadable", path.name)):
        return False
    found = _json(path)
    return isinstance(found, list) and all(isinstance(i, int) for i in found)


def _is_scan(path: Path) -> bool:
    if not (path.is_file() and _is_name("scans", path.name)):
        return False
    try:
        with _opened(path) as file, zipfile.ZipFile(file) as archive:
            return set(archive.namelist()) == {"note.npy", "thumbnails.npy"}
    except zipfile.BadZipFile:
        return False


_PROOFS: Mapping[str, tuple[Kind, Callable[[Path], bool]]] = {
    "weights": ("weights", _is_weights),
    "digests": ("digest", _is_digest),
    "unreadable": ("unreadable", _is_unreadable),
    "scans": ("partial scan", _is_scan),
}
"""Folder of the cache -> what each file in it is, and what proves it."""

_FOLDERS: Mapping[str, frozenset[str]] = {"features": _STORE, "xlsa17": _CONVERTED}
"""Folder of the cache -> what each folder in it holds. converted: a res101.mat as arrays."""

HOMES = (*_FOLDERS, *_PROOFS)
"""The folders of the cache."""
