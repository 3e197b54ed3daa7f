"""From images to a feature store: each image passes the frozen backbone once, and never again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from zslkit.backbones import Backbone, Transform
from zslkit.data.store import SCHEMA, FeatureStore, cache_root, stored_dtype, to_stored
from zslkit.dataset import Images
from zslkit.errors import DataError
from zslkit.files import replacing
from zslkit.progress import Reporter

BATCH = 32


def images_digest(images: Images) -> str:
    """Fingerprint of the content of all images, remembered as long as no file's size or time changes."""
    signature = getattr(images, "stat_signature", None)
    if signature is None:
        return images.digest()
    note = cache_root() / "digests" / str(signature())
    if note.is_file():
        return note.read_text()
    digest = images.digest()
    note.parent.mkdir(parents=True, exist_ok=True)
    _write_text(note, digest)
    return digest


def store_key(images: Images, backbone: Backbone, dtype: str) -> str:
    """16 hex digits of all that decides a store's values, so that a store is never stale, only another one."""
    facts = [SCHEMA, images_digest(images), backbone.name, backbone.reduction, backbone.digest, repr(backbone.transform), dtype]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def open_store(name: str, images: Images, backbone: Backbone, dtype: str, device: torch.device, reporter: Reporter) -> FeatureStore:
    """The store of these images under this backbone, extracted first if it is not there yet.

    Interrupted extraction goes on where it stopped; two processes asking for one store do the work once.
    Raises DataError for an image that cannot be read or a disk that is full.
    """
    key = store_key(images, backbone, dtype)
    folder = cache_root() / "features" / f"{name}-{key}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _extract(folder, key, images, backbone, dtype, device, reporter)
    return FeatureStore(folder)


def _extract(folder: Path, key: str, images: Images, backbone: Backbone, dtype: str, device: torch.device, reporter: Reporter) -> None:
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(exist_ok=True)
    network = backbone.build().eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    height, width = np.asarray(backbone.transform.pixels(images.open(0))).shape[:2]
    shape = (len(images), *backbone.map_shape(height, width))
    size = int(np.prod(shape)) * stored_dtype(dtype).itemsize + int(np.prod(shape[:2])) * 4
    try:
        _reserve(partial, size)
        maps = _array(partial / "maps.npy", shape, stored_dtype(dtype))
        pooled = _array(partial / "pooled.npy", shape[:2], np.dtype(np.float32))
        done = _progress(partial)
        batches = [np.arange(i, min(i + BATCH, len(images))) for i in range(done, len(images), BATCH)]
        with reporter.phase(f"{folder.name}: extract features", total=len(images)) as phase, torch.inference_mode():
            phase.advance(done)
            for index, pixels in decoded(images, backbone.transform, batches, device):
                features = network(pixels).float().cpu()
                maps[index[0] : index[-1] + 1] = to_stored(features, dtype)
                pooled[index[0] : index[-1] + 1] = features.mean(dim=(2, 3)).numpy()
                # what counts as done must be on disk before the note that says so
                if (index[-1] + 1) % (BATCH * 16) == 0:
                    maps.flush()
                    pooled.flush()
                    _write_text(partial / "done", str(index[-1] + 1))
                phase.advance(len(index))
        maps.flush()
        pooled.flush()
        manifest = {
            "schema": SCHEMA,
            "key": key,
            "shape": shape,
            "dtype": dtype,
            "backbone": backbone.name,
            "weights": backbone.label,
            "weights_digest": backbone.digest,
            "transform": repr(backbone.transform),
            "images": images_digest(images),
        }
        _write_text(partial / "manifest.json", json.dumps(manifest, indent=1))
        (partial / "done").unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"Writing the feature store {partial} failed ({error.strerror or error}); free some space or set ZSLKIT_CACHE, then run again"
        ) from error
    os.replace(partial, folder)


def _reserve(partial: Path, size: int) -> None:
    have = shutil.disk_usage(partial).free + sum(f.stat().st_blocks * 512 for f in partial.iterdir())
    if have < size:
        raise DataError(
            f"The feature store needs {size / 1e6:.0f} MB and {partial.parent} has {have / 1e6:.0f} MB left; "
            "free some, or put it elsewhere with ZSLKIT_CACHE"
        )


def _array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap[Any, np.dtype[Any]]:
    if path.is_file():
        try:
            # Opened for reading first: for writing, a file that was cut off would be filled up with zeros.
            found = np.load(path, mmap_mode="r", allow_pickle=False)
            if found.shape == shape and found.dtype == dtype:
                return np.lib.format.open_memmap(path, mode="r+")
        except (ValueError, EOFError):
            pass
    (path.parent / "done").unlink(missing_ok=True)
    array: np.memmap[Any, np.dtype[Any]] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # Room is taken now: a mapped page that finds none when it is written ends the process without a word.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _progress(partial: Path) -> int:
    note = partial / "done"
    text = note.read_text().strip() if note.is_file() else ""
    return int(text) if text.isdecimal() else 0


def _write_text(path: Path, text: str) -> None:
    with replacing(path, f".{os.getpid()}.new") as beside:
        beside.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class ImageInputs:
    """Images as inputs of a trainable backbone, decoded when they are asked for."""

    images: Images
    transform: Transform

    def batch(self, index: NDArray[np.int64]) -> Tensor:
        """(B, 3, h, w) float32."""
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            return self.transform.normalise(_stack(self.images, self.transform, index, pool))


def decoded(
    images: Images, transform: Transform, batches: list[NDArray[np.int64]], device: torch.device
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Batches of inputs (B, 3, h, w), the next one decoded by threads while the caller works on this one."""
    with ThreadPoolExecutor(max_workers=1) as ahead, ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        queue = [ahead.submit(_stack, images, transform, b, pool) for b in batches[:2]]
        for i, index in enumerate(batches):
            pixels = queue.pop(0).result()
            if i + 2 < len(batches):
                queue.append(ahead.submit(_stack, images, transform, batches[i + 2], pool))
            yield index, transform.normalise(pixels.to(device)).contiguous(memory_format=torch.channels_last)


def _stack(images: Images, transform: Transform, index: NDArray[np.int64], pool: ThreadPoolExecutor) -> Tensor:
    pixels = list(pool.map(lambda i: transform.pixels(images.open(int(i))), index))
    for i, p in zip(index, pixels, strict=True):
        if p.shape != pixels[0].shape:
            raise DataError(
                f"{images.key(int(i))} is {p.shape[1]}x{p.shape[0]} pixels and {images.key(int(index[0]))} is "
                f"{pixels[0].shape[1]}x{pixels[0].shape[0]}; "
                "set features.size to bring all images to one size"
            )
    return torch.from_numpy(np.stack(pixels))
