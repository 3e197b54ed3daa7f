"""Feature extraction: each image passes the frozen backbone once, into a feature store."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Collection
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zslkit.config import FeatureConfig
from zslkit.dataset import Images
from zslkit.errors import CannotWrite, DataError
from zslkit.features.backbones import Backbone, Transform, headless, untrained
from zslkit.features.forward import NotOpened, Precision, frozen, passed, pixels_of
from zslkit.features.store import SCHEMA, FeatureStore, stored_dtype, to_stored
from zslkit.features.unreadable import content_of, look, refuse
from zslkit.readers.depth import SCALED
from zslkit.readers.faults import writing
from zslkit.utils import distributed
from zslkit.utils.devices import bfloat16_remark
from zslkit.utils.files import cache_root, write_text
from zslkit.utils.locks import acquired
from zslkit.utils.progress import Reporter

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 4
"""Batch size on a CPU in float32, doubled in bfloat16; larger batches exceed the CPU caches."""
BATCH_ELSEWHERE = 32
"""Batch size on an accelerator."""
ROUND = 8
"""Batches a process between two saves of the progress, at which all processes wait."""


def store_key(
    content: str, backbone: Backbone, dtype: str, precision: Precision = "float32"
) -> str:
    """Cache key over all inputs of a store, 16 hex digits; any change gives a new store.

    `content` is the digest of the images, `dtype` the type of stored maps, `precision` that of the
    network's computations.
    """
    facts = [SCHEMA, content, backbone.name, backbone.reduction, backbone.digest]
    facts += [repr(backbone.transform), dtype]
    if precision != "float32":
        facts.append(f"computed in {precision}")
    if backbone.pooling != "mean":
        facts.append(f"pooling {backbone.pooling}")
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def open_store(
    name: str,
    images: Images,
    backbone: Backbone,
    dtype: str,
    device: torch.device,
    reporter: Reporter,
    *,
    precision: Precision = "float32",
    skipped: Collection[int] = (),
    batch: int | None = None,
    content: str | None = None,
) -> FeatureStore:
    """Open the store of these images and this backbone; a missing store is extracted first.

    An interrupted extraction resumes. If two processes need the same store, the second waits for
    the first; the processes of one run share the work.

    Args:
        dtype: Type of the stored maps.
        precision: Type in which the network computes.
        skipped: Indices of unreadable images; their rows are zero.
        batch: Batch size; None for the default of the device.
        content: Digest of the images; None to compute it.

    Raises:
        DataError: Lists the images that cannot be read.
        CannotWrite: The disk is full or not writable.
    """
    content = content or content_of(images, reporter, skipped)
    key = store_key(content, backbone, dtype, precision)
    folder = cache_root() / "features" / f"{name}-{key}"
    if distributed.agreed(folder.is_dir()):
        return FeatureStore(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    sentence = (
        f"Another process extracts the features of {name} into {folder}; this one waits until "
        "it is done"
    )
    first = distributed.first()
    with acquired(f"{folder}.lock", reporter.note, sentence) if first else nullcontext():
        if not distributed.agreed(folder.is_dir()):
            if slow := bfloat16_remark(precision, device, "--feature-precision"):
                reporter.note(f"{name}: {slow}")
            usual = BATCH if precision == "float32" else 2 * BATCH
            step = batch or (BATCH_ELSEWHERE if device.type != "cpu" else usual)
            _Extraction(
                *(folder, key, content, images, backbone, dtype, device, reporter),
                *(precision, frozenset(skipped), step),
            ).run()
    return FeatureStore(folder)


@dataclass(frozen=True)
class _Extraction:
    """One extraction into `folder`; arguments as in `open_store` and `store_key`."""

    folder: Path
    key: str
    content: str
    images: Images
    backbone: Backbone
    dtype: str
    device: torch.device
    reporter: Reporter
    precision: Precision
    skipped: frozenset[int]
    batch: int

    def run(self) -> None:
        images, backbone, skipped = self.images, self.backbone, self.skipped
        partial = self.folder.with_name(self.folder.name + ".partial")
        with distributed.in_turn():
            look(images, self.reporter, skipped)
            partial.mkdir(exist_ok=True)
            if distributed.first():
                _drop_notes(partial)  # left by a process killed while it wrote them
        built = backbone.build().eval()
        height, width = first_size(images, backbone.transform, self.reporter, skipped)
        shape = (len(images), *backbone.map_shape(height, width, built))
        network = frozen(built, self.device, self.precision)
        failed = f"Writing the feature store {partial} failed"
        try:
            with writing(failed, "free some space or set ZSLKIT_CACHE, then run again"):
                self._fill(partial, shape, network)
                if distributed.first():
                    manifest = json.dumps(self._manifest(shape), indent=1)
                    write_text(partial / "manifest.json", manifest)
                    (partial / "done").unlink(missing_ok=True)
                    _drop_notes(partial)
        except NotOpened:
            refuse(images, self.reporter, skipped)  # lists all unreadable images
            raise
        if distributed.first():
            with writing(f"The feature store {partial} cannot be put in its place", "run again"):
                os.replace(partial, self.folder)
        distributed.wait()

    def _fill(self, partial: Path, shape: tuple[int, ...], network: nn.Module) -> None:
        """Compute the features and write them; goes on where an interruption ended."""
        images, skipped, device = self.images, self.skipped, self.device
        kept_type = stored_dtype(self.dtype)
        with distributed.in_turn():
            if distributed.first():
                _reserve(partial, math.prod(shape) * kept_type.itemsize + math.prod(shape[:2]) * 4)
            maps = _array(partial / "maps.npy", shape, kept_type)
            pooled = _array(partial / "pooled.npy", shape[:2], np.dtype(np.float32))
        done = distributed.agreed(_progress(partial))
        good = np.array([i for i in range(done, len(images)) if i not in skipped], dtype=np.int64)
        rounds = _rounds([good[i : i + self.batch] for i in range(0, len(good), self.batch)])
        mine = [index for part, _ in rounds for index in part]
        recorder = _ScalingRecorder(images)

        def finish(features: Tensor) -> tuple[NDArray[Any], NDArray[np.float32]]:
            return to_stored(features, self.dtype), features.mean(dim=(2, 3)).numpy()

        results = passed(
            recorder, self.backbone.transform, network, mine, device, self.precision, finish
        )
        title, total = f"{self.folder.name}: extract features", len(images) - len(skipped)
        with closing(results), self.reporter.phase(title, total=total) as phase:
            phase.advance(done - sum(i < done for i in skipped))
            for part, whole in rounds:
                for index, (kept, means) in islice(results, len(part)):
                    # All images of the batch have one size, but not that of the first image.
                    if kept.shape[1:] != shape[1:]:
                        raise DataError(
                            f"{images.key(int(index[0]))} is of another size than the images "
                            "before it; set features.size to bring all images to one size"
                        )
                    maps[index], pooled[index] = kept, means
                # Features must be on disk before the progress is; other threads keep computing.
                maps.flush()
                pooled.flush()
                distributed.wait()
                if distributed.first():
                    write_text(partial / "done", str(whole[-1][-1] + 1))
                phase.advance(sum(len(index) for index in whole))
        recorder.report(self.folder.name, self.reporter)
        index = np.setdiff1d(np.arange(len(images)), sorted(skipped))
        if len(index) > 1 and all(np.array_equal(pooled[index[0]], pooled[i]) for i in index[1:]):
            raise DataError(
                f"{self.backbone.name} (weights {self.backbone.label}) gives all {len(index)} "
                "images the same features, which tell nothing; give other weights with "
                "--backbone-weights, or look at the images"
            )

    def _manifest(self, shape: tuple[int, ...]) -> dict[str, Any]:
        manifest = {
            "schema": SCHEMA,
            "key": self.key,
            "shape": shape,
            "dtype": self.dtype,
            "backbone": self.backbone.name,
            "weights": self.backbone.label,
            "weights_digest": self.backbone.digest,
            "transform": repr(self.backbone.transform),
            "images": self.content,
        }
        if self.precision != "float32":
            manifest["precision"] = self.precision
        if self.backbone.pooling != "mean":
            manifest["pooling"] = self.backbone.pooling
        if self.skipped:
            manifest["skipped"] = [self.images.key(i) for i in sorted(self.skipped)]
        return manifest


class _ScalingRecorder:
    """Wrapper of images that records which have more than 8 bits a channel and their scaling."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.scaled: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.images)

    def open(self, index: int) -> Image:
        image = self.images.open(index)
        if how := image.info.get(SCALED):
            self.scaled[index] = str(how)
        return image

    def key(self, index: int) -> str:
        return self.images.key(index)

    def digest(self) -> str:
        return self.images.digest()

    def report(self, name: str, reporter: Reporter) -> None:
        """Note the scaled images, if there are any."""
        if self.scaled:
            first = min(self.scaled)
            reporter.note(
                f"{name}: {len(self.scaled)} images have more than 8 bits a channel and are "
                f"scaled ({self.key(first)}: {self.scaled[first]}"
                f"{', ...' if len(self.scaled) > 1 else ''}); `zslkit data verify` names them all"
            )


def first_size(
    images: Images, transform: Transform, reporter: Reporter, skipped: Collection[int] = ()
) -> tuple[int, int]:
    """Height and width of the first readable image as the backbone sees it.

    Raises:
        DataError: The image cannot be read; lists all unreadable images.
    """
    first = next(i for i in range(len(images)) if i not in skipped)
    try:
        height, width = pixels_of(images, transform, first).shape[:2]
    except NotOpened:
        refuse(images, reporter, skipped)
        raise
    return height, width


def _rounds(
    batches: list[NDArray[np.int64]],
) -> list[tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]]:
    """Split the batches into rounds, after each of which the progress is saved.

    Batches stay whole, so that results do not depend on the number of processes. A single process
    saves the progress after every batch. A round is the batches of this process and those of all.
    """
    step = ROUND * distributed.size() if distributed.several() else 1
    rounds = [batches[i : i + step] for i in range(0, len(batches), step)]
    return [(whole[distributed.share(len(whole))], whole) for whole in rounds]


def _reserve(partial: Path, size: int) -> None:
    """Check that the disk has room for the store."""
    own = sum(file.stat().st_blocks * 512 for file in partial.iterdir())
    have = shutil.disk_usage(partial).free + own
    if have < size:
        raise CannotWrite(
            f"The feature store needs {size / 1e6:.0f} MB and {partial.parent} has "
            f"{have / 1e6:.0f} MB left; free some, or put it elsewhere with ZSLKIT_CACHE"
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.memmap[Any, np.dtype[Any]]:
    """Open the array of an interrupted extraction, or create a new one and reset the progress."""
    if path.is_file():
        try:
            # Read-only first: opening for writing would extend a truncated file with zeros.
            found = np.load(path, mmap_mode="r", allow_pickle=False)
            if found.shape == shape and found.dtype == dtype:
                return np.lib.format.open_memmap(path, mode="r+")
        except (ValueError, EOFError):
            pass
    (path.parent / "done").unlink(missing_ok=True)
    array: np.memmap[Any, np.dtype[Any]] = np.lib.format.open_memmap(
        path, mode="w+", dtype=dtype, shape=shape
    )
    if hasattr(os, "posix_fallocate"):
        # Allocate now: writing a mapped page on a full disk would kill the process.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _progress(partial: Path) -> int:
    """Number of images already extracted."""
    note = partial / "done"
    text = note.read_text().strip() if note.is_file() else ""
    return int(text) if text.isdecimal() else 0


def _drop_notes(partial: Path) -> None:
    """Delete temporary files."""
    for file in partial.glob("*.new"):
        file.unlink(missing_ok=True)


def store_bytes(images: int, features: FeatureConfig, height: int, width: int) -> int:
    """Size in bytes of a store for images of height x width pixels: maps, and pooled float32.

    The backbone runs on the meta device: shapes only, without weights.

    Raises:
        Exception: Any error of timm for a network that it cannot create.
    """
    with torch.device("meta"), torch.inference_mode():
        made = untrained(features).network
        network = headless(made, features.reduction, features.pooling).eval()
        shape = tuple(int(n) for n in network(torch.zeros(1, 3, height, width)).shape[1:])
    return images * (math.prod(shape) * stored_dtype(features.dtype).itemsize + shape[0] * 4)
