"""From images to a feature store: each image passes the frozen backbone once, and never again."""

from __future__ import annotations

import errno
import hashlib
import json
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
from torch import Tensor

from zslkit.dataset import Images
from zslkit.errors import CannotWrite, DataError
from zslkit.features.backbones import Backbone, Transform
from zslkit.features.forward import NotOpened, Precision, frozen, passed, pixels_of, stacked_inputs
from zslkit.features.store import (
    SCHEMA,
    FeatureStore,
    cache_root,
    stored_dtype,
    to_stored,
)
from zslkit.features.unreadable import content_of, look, refuse
from zslkit.readers.depth import SCALED
from zslkit.utils import distributed
from zslkit.utils.files import replacing, why
from zslkit.utils.locks import acquired
from zslkit.utils.progress import Reporter

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 4
"""Images that pass a CPU at once in float32, twice as many in bfloat16: more would fall out of its caches."""
BATCH_ELSEWHERE = 32
"""Images that pass an accelerator at once."""
ROUND = 8
"""Batches of each process between two notes of progress, for which processes that share the work wait for each other."""


def store_key(
    content: str, backbone: Backbone, dtype: str, precision: Precision = "float32"
) -> str:
    """16 hex digits of all that decides a store's values, so that a store is never stale, only another one.

    content: fingerprint of the images.
    """
    facts = [
        SCHEMA,
        content,
        backbone.name,
        backbone.reduction,
        backbone.digest,
        repr(backbone.transform),
        dtype,
    ]
    if precision != "float32":
        facts.append(f"computed in {precision}")
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Making:
    """How a store is made, as open_store is told it."""

    device: torch.device
    reporter: Reporter
    precision: Precision
    skipped: frozenset[int]
    batch: int
    content: str


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
    """The store of these images under this backbone, extracted first if it is not there yet.

    precision: what the network computes with. skipped: indices of images that cannot be read; their rows stay zero.
    batch: images at once, None: what suits the device. content: fingerprint of the images, where it is known.
    Interrupted extraction goes on where it stopped; two processes asking for one store do the work once, the second is told that it
    waits, and the processes of one run share it.
    Raises DataError that lists the images that cannot be read, CannotWrite if the disk is full.
    """
    content = content or content_of(images, reporter, skipped)
    key = store_key(content, backbone, dtype, precision)
    folder = cache_root() / "features" / f"{name}-{key}"
    if not distributed.agreed(folder.is_dir()):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sentence = f"Another process extracts the features of {name} into {folder}; this one waits until it is done"
        with (
            acquired(f"{folder}.lock", reporter.note, sentence)
            if distributed.first()
            else nullcontext()
        ):
            if not distributed.agreed(folder.is_dir()):
                step = batch or (
                    BATCH_ELSEWHERE
                    if device.type != "cpu"
                    else 2 * BATCH
                    if precision == "bfloat16"
                    else BATCH
                )
                _extract(
                    folder,
                    key,
                    images,
                    backbone,
                    dtype,
                    _Making(device, reporter, precision, frozenset(skipped), step, content),
                )
    return FeatureStore(folder)


def _extract(
    folder: Path, key: str, images: Images, backbone: Backbone, dtype: str, making: _Making
) -> None:
    device, reporter, skipped = making.device, making.reporter, making.skipped
    partial = folder.with_name(folder.name + ".partial")
    with distributed.in_turn():
        look(images, reporter, skipped)
        partial.mkdir(exist_ok=True)
        if distributed.first():
            _drop_notes(partial)  # of a process that was killed while it wrote them
    built = backbone.build().eval()
    height, width = first_size(images, backbone.transform, reporter, skipped)
    shape = (len(images), *backbone.map_shape(height, width, built))
    network = frozen(built, device, making.precision)
    size = int(np.prod(shape)) * stored_dtype(dtype).itemsize + int(np.prod(shape[:2])) * 4

    def finish(features: Tensor) -> tuple[NDArray[Any], NDArray[np.float32]]:
        return to_stored(features, dtype), features.mean(dim=(2, 3)).numpy()

    try:
        with distributed.in_turn():
            if distributed.first():
                _reserve(partial, size)
            maps = _array(partial / "maps.npy", shape, stored_dtype(dtype))
            pooled = _array(partial / "pooled.npy", shape[:2], np.dtype(np.float32))
        done = distributed.agreed(_progress(partial))
        good = np.array([i for i in range(done, len(images)) if i not in skipped], dtype=np.int64)
        batches = [good[i : i + making.batch] for i in range(0, len(good), making.batch)]
        rounds = _rounds(batches)
        mine = [part for part, _ in rounds]
        told = _Told(images)
        results = passed(
            told,
            backbone.transform,
            network,
            [b for part in mine for b in part],
            device,
            making.precision,
            finish,
        )
        with (
            closing(results),
            reporter.phase(
                f"{folder.name}: extract features", total=len(images) - len(skipped)
            ) as phase,
        ):
            phase.advance(done - sum(i < done for i in skipped))
            for part, whole in rounds:
                for index, (kept, means) in islice(results, len(part)):
                    if (
                        kept.shape[1:] != shape[1:]
                    ):  # a whole batch of one size, and not that of the first image
                        raise DataError(
                            f"{images.key(int(index[0]))} is of another size than the images before it; "
                            "set features.size to bring all images to one size"
                        )
                    maps[index], pooled[index] = kept, means
                # What counts as done must be on disk before the note that says so. The cores work on meanwhile.
                maps.flush()
                pooled.flush()
                distributed.wait()
                if distributed.first():
                    _write_text(partial / "done", str(whole[-1][-1] + 1))
                phase.advance(sum(len(index) for index in whole))
        told.tell(folder.name, reporter)
        if not distributed.first():
            distributed.wait()
            return
        manifest = {
            "schema": SCHEMA,
            "key": key,
            "shape": shape,
            "dtype": dtype,
            "backbone": backbone.name,
            "weights": backbone.label,
            "weights_digest": backbone.digest,
            "transform": repr(backbone.transform),
            "images": making.content,
        }
        if making.precision != "float32":
            manifest["precision"] = making.precision
        if skipped:
            manifest["skipped"] = [images.key(i) for i in sorted(skipped)]
        _write_text(partial / "manifest.json", json.dumps(manifest, indent=1))
        (partial / "done").unlink(missing_ok=True)
        _drop_notes(partial)
    except OSError as error:
        raise CannotWrite(
            f"Writing the feature store {partial} failed ({why(error)}); free some space or set ZSLKIT_CACHE, then run again"
        ) from error
    except NotOpened:
        refuse(images, reporter, skipped)  # say which others are like it
        raise
    try:
        os.replace(partial, folder)
    except OSError as error:
        raise CannotWrite(
            f"The feature store {partial} cannot be put in its place ({why(error)}); run again"
        ) from error
    distributed.wait()


class _Told:
    """Images that remember which of them hold more than 8 bits a channel, and how these were scaled."""

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

    def tell(self, name: str, reporter: Reporter) -> None:
        if self.scaled:
            first = min(self.scaled)
            reporter.note(
                f"{name}: {len(self.scaled)} images have more than 8 bits a channel and are scaled ({self.key(first)}: {self.scaled[first]}"
                f"{', ...' if len(self.scaled) > 1 else ''}); `zslkit data verify` names them all"
            )


def first_size(
    images: Images, transform: Transform, reporter: Reporter, skipped: Collection[int] = ()
) -> tuple[int, int]:
    """(height, width) of the first image as the backbone sees it. Raises DataError, of all that cannot be read, if it cannot."""
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
    """This process's batches of every round, and those of all processes. After a round everything up to its end is done.

    Batches stay whole, so that a store's bits do not hang on how many processes made it. A process alone notes every batch.
    """
    step = ROUND * distributed.size() if distributed.several() else 1
    rounds = [batches[i : i + step] for i in range(0, len(batches), step)]
    return [(whole[distributed.share(len(whole))], whole) for whole in rounds]


def _reserve(partial: Path, size: int) -> None:
    have = shutil.disk_usage(partial).free + sum(
        f.stat().st_blocks * 512 for f in partial.iterdir()
    )
    if have < size:
        raise CannotWrite(
            f"The feature store needs {size / 1e6:.0f} MB and {partial.parent} has {have / 1e6:.0f} MB left; "
            "free some, or put it elsewhere with ZSLKIT_CACHE"
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.memmap[Any, np.dtype[Any]]:
    if path.is_file():
        try:
            # Opened for reading first: for writing, a file that was cut off would be filled up with zeros.
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
        # Room is taken now: a mapped page that finds none when it is written ends the process without a word.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _progress(partial: Path) -> int:
    note = partial / "done"
    text = note.read_text().strip() if note.is_file() else ""
    return int(text) if text.isdecimal() else 0


def _drop_notes(partial: Path) -> None:
    for file in partial.glob("*.new"):
        file.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class ImageInputs:
    """Images as inputs of a trainable backbone, decoded when they are asked for."""

    images: Images
    transform: Transform

    def batch(self, index: NDArray[np.int64]) -> Tensor:
        """(B, 3, h, w) float32."""
        return stacked_inputs(self.images, self.transform, index)
