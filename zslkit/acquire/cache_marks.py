"""Recognition of zslkit's own items in the cache, by their names and contents.

The cache may be set to any folder, even one in which the user's data and weights lie in folders
named like those of the cache.
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
    "embeddings",
    "shared runs",
    "checked runs",
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
SHARED = "shared"
"""Folder of the cache with runs that came in a file of another person."""
CHECKED = "checked"
"""Folder of the cache with notes on runs whose record was held against its scores."""
SHARED_MANIFEST = "zslkit-runs.json"
SHARED_FILES = frozenset(
    {
        "record.json",
        "config.yaml",
        "log.jsonl",
        "scores.npz",
        "attributes.npz",
        "semantics.npz",
        "tags.json",
    }
)
"""Files of a run that are shared: all but its weights."""
_LINE = 300
"""Limit of characters of a digest; plugins may define their own digests."""


def kind_of(home: str, path: Path) -> Kind:
    """Kind of the item at `path` in the folder `home` of the cache.

    It is "foreign" if nothing proves that zslkit made it.
    """
    if path.is_symlink():
        return "link"
    with suppress(OSError, ValueError):
        if home in _PROOFS:
            kind, proof = _PROOFS[home]
            begun = BEGUN.fullmatch(path.name)
            half_made = begun is not None and begun["end"] == "new"
            name = begun["name"] if begun and half_made else path.name
            named = path.is_file() and _is_name(home, name)
            if half_made:
                return "leftover" if named else "foreign"
            if (named or home in (SHARED, CHECKED)) and proof(path):
                return kind
        if home in _FOLDERS and path.is_dir():
            names = _FOLDERS[home]
            if path.suffix == ".partial" and _is_unfinished(home, path.stem, path, names):
                return "partial store"
            if _is_whole(home, path, names):
                return "store" if home == "features" else "converted"
    return "foreign"


def files_of(path: Path) -> list[Path]:
    """Files of a store, a converted file or shared runs; other files in the folder are not
    listed."""
    if (path / SHARED_MANIFEST).is_file():
        runs = [file for file in path.glob("*/*/*/*") if file.name in SHARED_FILES]
        return [*runs, path / SHARED_MANIFEST]
    if path.parent.name == CHECKED:
        return [*path.iterdir()]
    return [
        file for file in path.iterdir() if file.name in _STORE | _CONVERTED or _is_note(file.name)
    ]


def _is_name(home: str, name: str) -> bool:
    """Whether zslkit gives such names to files in the folder `home`."""
    pattern = _NAMED if home == "weights" else _HEX
    ending = _ENDINGS.get(home, "")
    return name.endswith(ending) and pattern.fullmatch(name.removesuffix(ending)) is not None


_ENDINGS = {"weights": ".safetensors", "unreadable": ".json"}
_ENDINGS |= dict.fromkeys(("scans", "descriptions"), ".npz")


def _is_note(name: str) -> bool:
    """Whether the file marks a finished store, or is a temporary file of a store."""
    return name == "done" or bool(re.fullmatch(r"(done|manifest\.json)\.[0-9a-f-]+\.new", name))


def _plain(path: Path, names: frozenset[str]) -> bool:
    """Whether the folder holds only regular files with these names, and .npy files are arrays."""
    files = list(path.iterdir())
    plain = all(file.is_file() and not file.is_symlink() for file in files)
    known = all(file.name in names or _is_note(file.name) for file in files)
    return plain and known and all(map(_fits, files))


def _fits(file: Path) -> bool:
    """Whether a .npy file begins like an array; other files always fit."""
    if file.suffix != ".npy":
        return True
    with _opened(file) as content:
        return content.read(6) in (b"", b"\x93NUMPY")


def _opened(file: Path) -> IO[bytes]:
    """Open a file without a change of its access time where possible: listing is not use."""

    def opener(name: str, flags: int) -> int:
        with suppress(PermissionError):  # only the owner may use O_NOATIME
            return os.open(name, flags | getattr(os, "O_NOATIME", 0))
        return os.open(name, flags)

    return open(file, "rb", opener=opener)


def _json(file: Path) -> Any:
    with _opened(file) as content:
        return parse_json(content.read(MOST).decode())


def _is_unfinished(home: str, stem: str, path: Path, names: frozenset[str]) -> bool:
    """Whether a `.partial` folder is an unfinished or half removed store."""
    if removed := _REMOVED.fullmatch(stem):
        stem = removed["whole"].removesuffix(".partial")
    named = _NAMED.fullmatch(stem) if home == "features" else re.fullmatch(r"[0-9a-f]{16}", stem)
    return named is not None and _plain(path, names)


def _is_whole(home: str, path: Path, names: frozenset[str]) -> bool:
    """Whether a folder is a complete store or converted file whose manifest states its name."""
    named = _NAMED.fullmatch(path.name)
    key = named["key"] if home == "features" and named else path.name
    facts = _json(path / "manifest.json")
    if not isinstance(facts, Mapping) or not isinstance(facts.get("schema"), int):
        return False
    matches = facts.get("key") == key
    if home != "features":
        matches = bool(re.fullmatch("[0-9a-f]{16}", key)) and str(facts.get("sha256"))[:16] == key
    return matches and _plain(path, names)


def _is_weights(path: Path) -> bool:
    with _opened(path) as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= os.fstat(file.fileno()).st_size - 8:
            return False
        header: Any = json.loads(file.read(min(size, 64 << 20)))
    if not isinstance(header, dict):
        return False
    if "__metadata__" in header:
        return bool(header["__metadata__"] == MADE)
    # Earlier versions wrote no metadata, but left the lock file beside the weights.
    return Path(f"{path}.lock").is_file()


def _is_digest(path: Path) -> bool:
    if path.stat().st_size > 4 * _LINE:
        return False
    with _opened(path) as file:
        text = file.read(4 * _LINE).decode()
    return 0 < len(text) <= _LINE and text.isprintable() and " " not in text


def _is_unreadable(path: Path) -> bool:
    found = _json(path)
    return isinstance(found, list) and all(isinstance(i, int) for i in found)


def _is_shared(path: Path) -> bool:
    """Whether a folder holds shared runs, or what an interrupted removal left of them, alone."""
    name = re.sub(r"\.removed-\d+\.partial$", "", path.name)
    if not path.is_dir() or not re.fullmatch(r"[0-9a-f]{32}", name):
        return False
    facts = _json(path / SHARED_MANIFEST)
    known = set(files_of(path))
    if not isinstance(facts, Mapping) or not isinstance(facts.get("format"), int):
        return False
    return all(not f.is_symlink() and (f.is_dir() or f in known) for f in path.rglob("*"))


def _is_checked(path: Path) -> bool:
    """Whether a folder holds notes on checked runs alone."""
    return path.is_dir() and all(
        re.fullmatch(r"[0-9a-f]{32}(\..+\.new)?", file.name)
        and not file.is_symlink()
        and file.is_file()
        and re.fullmatch(r"[0-9a-f]{0,64}", file.read_text("ascii"))
        for file in path.iterdir()
        if file.stat().st_size <= _LINE
    )


def _holds(*members: str) -> Callable[[Path], bool]:
    """Whether an archive has exactly these members."""

    def test(path: Path) -> bool:
        with suppress(zipfile.BadZipFile), _opened(path) as file, zipfile.ZipFile(file) as archive:
            return set(archive.namelist()) == set(members)
        return False

    return test


_PROOFS: Mapping[str, tuple[Kind, Callable[[Path], bool]]] = {
    "weights": ("weights", _is_weights),
    "digests": ("digest", _is_digest),
    "unreadable": ("unreadable", _is_unreadable),
    "scans": ("partial scan", _holds("note.npy", "thumbnails.npy")),
    "descriptions": ("embeddings", _holds("vectors.npy", "encoder.npy")),
    SHARED: ("shared runs", _is_shared),
    CHECKED: ("checked runs", _is_checked),
}
"""Folder of the cache -> kind of its files, and the test that recognises them."""

_FOLDERS: Mapping[str, frozenset[str]] = {"features": _STORE, "xlsa17": _CONVERTED}
"""Folder of the cache -> files in each of its stores; "converted" stores hold a res101.mat."""

HOMES = (*_FOLDERS, *_PROOFS)
"""Names of the folders of the cache."""
