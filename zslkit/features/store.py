"""Feature store: memory-mapped features of all images of a dataset, and a manifest.

A store is a folder: maps.npy (N, D, H, W), pooled.npy (N, D), and manifest.json, which records how
the features were made and lists skipped images (their rows are zero). It is written to a `.partial`
folder and renamed when complete. bfloat16 is stored as int16 with the same bits.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.dataset import Images
from zslkit.errors import DataError
from zslkit.utils.files import (
    cache_root,
    check_permitted,
    need_plain,
    parse_json,
    read_small,
    remember,
)

SCHEMA = 1
_ARRAYS = ("maps.npy", "pooled.npy")


def images_digest(images: Images) -> str:
    """Fingerprint of the content of all images.

    It is cached while sizes and modification times of the files stay the same.
    """
    signature = getattr(images, "stat_signature", None)
    if signature is None:
        return images.digest()
    name = str(signature())
    if not re.fullmatch("[0-9a-f]{16,64}", name):  # the signature of a plugin may be any text
        name = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    note = cache_root() / "digests" / name
    with suppress(OSError, ValueError):
        if known := note.read_text(encoding="utf-8"):
            return known
    digest = images.digest()
    remember(note, digest)
    return digest


class FeatureStore:
    """A complete store, opened for reading; the features stay on disk."""

    def __init__(self, folder: Path) -> None:
        """Read the manifest and map the arrays; raises DataError if they are damaged."""
        self.folder = folder
        for name in ("manifest.json", *_ARRAYS):
            check_permitted(folder / name)
        try:
            self.manifest: dict[str, Any] = parse_json(read_small(folder / "manifest.json"))
            for name in _ARRAYS:
                need_plain(folder / name)
            self._maps, self._pooled = (
                np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in _ARRAYS
            )
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise DataError(
                f"The feature store {folder} is damaged ({error}); remove that folder and run again"
            ) from error
        self._stamps = {name: _stamp(folder / name) for name in _ARRAYS}
        if not self._fits():
            raise DataError(
                f"The feature store {folder} does not hold what its manifest says; remove that "
                "folder and run again"
            )

    def _fits(self) -> bool:
        """Whether the arrays have the shape and type that the manifest states."""
        facts = self.manifest if isinstance(self.manifest, dict) else {}
        shape, dtype = facts.get("shape"), facts.get("dtype")
        known = facts.get("schema") == SCHEMA and dtype in ("float16", "bfloat16", "float32")
        if not known or dtype is None or not isinstance(shape, list):
            return False
        if not (isinstance(self._maps, np.ndarray) and isinstance(self._pooled, np.ndarray)):
            return False
        shapes = [self._maps.shape, self._pooled.shape]
        fits = shapes == [tuple(shape), tuple(shape[:2])]
        return fits and bool(self._maps.dtype == stored_dtype(dtype))

    def __len__(self) -> int:
        return int(self._maps.shape[0])

    @property
    def fingerprint(self) -> str:
        """Cache key over images, backbone, weights, transform and type."""
        return str(self.manifest["key"])

    def maps(self, index: NDArray[np.int64]) -> Tensor:
        """Feature maps (B, D, H, W) float32 of the images in `index`."""
        return self.stored_maps(index).float()

    def stored_maps(self, index: NDArray[np.int64]) -> Tensor:
        """Feature maps (B, D, H, W) in the type of the store."""
        self._refuse_change()
        tensor = torch.from_numpy(np.asarray(self._maps[index]))
        return tensor.view(torch.bfloat16) if self.manifest["dtype"] == "bfloat16" else tensor

    def pooled(self, index: NDArray[np.int64]) -> Tensor:
        """Mean of the feature maps over positions before rounding, (B, D) float32."""
        self._refuse_change()
        return torch.from_numpy(np.asarray(self._pooled[index]))

    def _refuse_change(self) -> None:
        """Raise DataError if a file was changed since it was opened.

        Reading beyond the end of a truncated file would kill the process. A removed or replaced
        file does no harm: the old one stays mapped.
        """
        for name, (inode, *before) in self._stamps.items():
            with suppress(OSError):
                found, *now = _stamp(self.folder / name)
                if found == inode and now != before:
                    raise DataError(
                        f"{self.folder / name} was changed while this run read it, so its results "
                        f"would mean nothing; remove the folder {self.folder} and run again"
                    )

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Shape (D, H, W) of the maps of one image."""
        _, d, h, w = self._maps.shape
        return d, h, w


def _stamp(path: Path) -> tuple[int, int, int]:
    """Inode, size and modification time of a file."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def to_stored(values: Tensor, dtype: str) -> NDArray[Any]:
    """The array that the store holds; raises DataError if a value is not finite in this type."""
    stored = values.to(getattr(torch, dtype))
    if not bool(torch.isfinite(stored).all()):
        raise DataError(
            f"A feature is not finite as {dtype}; set features.dtype to bfloat16 or float32, or "
            "look at the backbone's weights"
        )
    return (stored.view(torch.int16) if dtype == "bfloat16" else stored).numpy()


def stored_dtype(dtype: str) -> np.dtype[Any]:
    """numpy type in which the store holds values of `dtype`."""
    return np.dtype(np.int16 if dtype == "bfloat16" else dtype)
