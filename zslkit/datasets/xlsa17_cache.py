"""Cache of res101.mat: converted once into arrays that open fast, a folder for each content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from zslkit.dataset import Index
from zslkit.datasets.xlsa17_mat import finite_float32, read_feature_file
from zslkit.errors import CannotWrite, DataError
from zslkit.readers.stream import file_digest
from zslkit.utils.files import cache_root, check_permitted, parse_json, read_small, remember

SCHEMA = 1


@dataclass(frozen=True)
class Pooled:
    """Contents of res101.mat, opened from the cache."""

    features: NDArray[np.float32]  # (N, 2048) float32, memory-mapped
    labels: Index  # (N,) 0-based class ids
    files: tuple[str, ...]  # N image paths
    fingerprint: str  # Digest of the features, 16 hex digits
    sha256: str


def open_features(path: Path) -> Pooled:
    """Open the features of a res101.mat; a new file is converted first, in seconds.

    Raises:
        DataError: Names the damaged file or cache folder.
        CannotWrite: The disk is full or not writable.
    """
    digest = _digest(path)
    folder = cache_root() / "xlsa17" / digest[:16]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _convert(path, digest, folder)
    return _open(folder)


def _digest(path: Path) -> str:
    """sha256 of the file, cached while its size and modification time stay the same."""
    stat = path.stat()
    signature = hashlib.sha256(
        f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape")
    ).hexdigest()
    note = cache_root() / "digests" / f"mat-{signature[:32]}"
    with suppress(OSError, ValueError):
        if len(known := note.read_text(encoding="utf-8").strip()) == 64:
            return known
    digest = file_digest(path)
    remember(note, digest)
    return digest


def _convert(path: Path, digest: str, folder: Path) -> None:
    read = read_feature_file(path)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        content = hashlib.sha256()
        with (partial / "features.npy").open("wb") as out:
            facts: dict[str, Any] = {"descr": "<f4", "fortran_order": False}
            np.lib.format.write_array_header_1_0(out, facts | {"shape": read.features.shape})
            for block in read.features.blocks():
                raw = finite_float32(path, "features", block).astype("<f4", copy=False).data
                content.update(raw)
                out.write(raw)
        np.save(partial / "labels.npy", read.labels)
        facts = {
            "schema": SCHEMA,
            "shape": read.features.shape,
            "fingerprint": content.hexdigest()[:16],
            "sha256": digest,
            "file": str(path),
            "files": read.files,
        }
        (partial / "manifest.json").write_text(json.dumps(facts), encoding="utf-8")
        os.replace(partial, folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise CannotWrite(
            f"Converting {path} into {partial} failed ({error.strerror or error}); free some "
            "space or set ZSLKIT_CACHE, then run again"
        ) from error


def _open(folder: Path) -> Pooled:
    for name in ("manifest.json", "features.npy", "labels.npy"):
        check_permitted(folder / name)
    try:
        facts = parse_json(read_small(folder / "manifest.json"))
        features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        files = tuple(facts["files"])
        fits = facts["schema"] == SCHEMA and list(features.shape) == facts["shape"]
        if not fits or not len(features) == len(labels) == len(files):
            raise ValueError("its parts do not fit together")
        return Pooled(features, labels, files, str(facts["fingerprint"]), str(facts["sha256"]))
    except (OSError, ValueError, EOFError, BadZipFile, KeyError, TypeError) as error:
        raise DataError(
            f"The converted features in {folder} are damaged ({error}); remove that folder and "
            "run again"
        ) from error
