"""Scores of images by a trained model, batch by batch, in an order from which a model learns nothing.

Test images of one class stand together in most datasets, so a model that looks at the other images of a batch would look at
images of the same class. Batches are therefore drawn from the whole table. Each takes one image of every stretch of it, so
that a store on disk is read along as many straight lines as a batch has images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.errors import TrainingError
from zslkit.model import Model
from zslkit.training.view import InputSource
from zslkit.utils import distributed
from zslkit.utils.memory import in_halves

Index = NDArray[np.int64]
Table = NDArray[np.float32]

SCORE_BATCH = 64
IN_MEMORY = 64 << 20
"""Bytes of a table of scores up to which it is kept in memory; a larger one goes through a file."""


class Rows:
    """A table (N, C) float32 whose rows come in any order.

    Args:
        shape: (N, C).
        folder: where the file of a large table lies; None: the system's folder for such files.
    """

    def __init__(self, shape: tuple[int, int], folder: Path | None = None) -> None:
        self.shape = shape
        self._table: Table | None = None
        self._file: IO[bytes] | None = None
        if shape[0] * shape[1] * 4 <= IN_MEMORY:
            self._table = np.empty(shape, dtype=np.float32)
        else:  # without a name, so that nothing is left of it however this process ends
            self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, places: Index, rows: Table) -> None:
        """Keep rows (B, C) at places (B,)."""
        if self._table is not None:
            self._table[places] = rows
            return
        assert self._file is not None
        for place, row in zip(
            places.tolist(), np.ascontiguousarray(rows, dtype="<f4"), strict=True
        ):
            self._file.seek(place * self.shape[1] * 4)
            self._file.write(row.data.cast("B"))

    def take(self, places: Index) -> Table:
        """The rows (B, C) at places (B,)."""
        if self._table is not None:
            return self._table[places]
        assert self._file is not None
        taken = np.empty((len(places), self.shape[1]), dtype="<f4")
        for place, row in zip(places.tolist(), taken, strict=True):
            self._file.seek(place * self.shape[1] * 4)
            self._file.readinto(row.data.cast("B"))  # type: ignore[attr-defined]
        return taken

    def batches(self, places: Index) -> Iterator[Table]:
        """The same, SCORE_BATCH rows at a time."""
        return (self.take(places[i : i + SCORE_BATCH]) for i in range(0, len(places), SCORE_BATCH))


def mixed(index: Index) -> list[Index]:
    """Places in `index` (N,) by batch, each in one batch: SCORE_BATCH of them at most, from all over the table, in random order.

    The same index always gives the same batches.
    """
    ascending, number = np.argsort(index, kind="stable"), -(-len(index) // SCORE_BATCH)
    random = np.random.default_rng(len(index))
    return [random.permutation(ascending[first::number]) for first in range(number)]


def score(model: Model, source: InputSource, index: Index, device: torch.device) -> Table:
    """Uncalibrated scores (N, C) of the images in `index`, in float32 arithmetic. Raises what `score_rows` raises."""
    return score_rows(model, source, index, device).take(np.arange(len(index)))


def score_rows(
    model: Model,
    source: InputSource,
    index: Index,
    device: torch.device,
    folder: Path | None = None,
) -> Rows:
    """Uncalibrated scores of the images in `index` (N,), a row each in the order of `index`.

    Args:
        folder: as `Rows` takes it.

    Raises:
        TrainingError: The model gives another shape or a value that is not finite.
    """
    model.eval()
    rows, batches = Rows((len(index), model.task.n_classes), folder), mixed(index)
    if not distributed.several():
        for places in batches:
            rows.put(places, asked(model, source, index[places], device))
        return rows
    # Every process gets all scores and decides by them alike; whole batches, so that the bits are those of one process.
    mine = batches[distributed.share(len(batches))]
    parts = distributed.gathered(
        lambda: [asked(model, source, index[places], device) for places in mine]
    )
    for places, scores in zip(batches, (scores for part in parts for scores in part), strict=True):
        rows.put(places, scores)
    return rows


def score_both(
    model: Model,
    source: InputSource,
    seen: Index,
    unseen: Index,
    device: torch.device,
    folder: Path | None = None,
) -> tuple[Iterator[Table], Iterator[Table]]:
    """Scores of two sets of images, in batches (B, C) in the order of each. They are computed as those of one set.

    Raises what `score_rows` raises.
    """
    rows = score_rows(model, source, np.concatenate([seen, unseen]), device, folder)
    places = np.arange(rows.shape[0])
    return rows.batches(places[: len(seen)]), rows.batches(places[len(seen) :])


def asked(model: Model, source: InputSource, chosen: Index, device: torch.device) -> Table:
    """The model's scores (B, C) of one batch. Raises as `score_rows` does."""
    return answer(model, source.batch(chosen).to(device))


def answer(model: Model, x: Tensor) -> Table:
    """The model's scores (B, C) of inputs x (B, ...), which lie on its device. Raises as `score_rows` does."""
    with torch.inference_mode():
        scores = in_halves(model.scores, x).float().cpu()
    if scores.shape != (len(x), model.task.n_classes):
        raise TrainingError(
            f"{type(model).__name__}.scores gave {tuple(scores.shape)} for {len(x)} images "
            f"and {model.task.n_classes} classes; "
            "it must give a score for every image and class"
        )
    if not torch.isfinite(scores).all():
        raise TrainingError(
            f"{type(model).__name__}.scores gave a value that is not finite; was training stable?"
        )
    return scores.numpy()


def attribute_rows(
    model: Model, source: InputSource, index: Index, device: torch.device
) -> Rows | None:
    """The model's attribute scores (N, A) of the images in `index`, a row each; None if the model has none.

    They are computed in mixed batches, as scores are.

    Raises:
        TrainingError: The model gives another shape or a value that is infinite.
    """
    model.eval()
    kind = type(model)
    # What attention alone would tell is not looked for: it costs a pass with maps over all test images.
    silent = (
        kind.predicted_attributes is Model.predicted_attributes and kind.evidence is Model.evidence
    )
    if silent or _told(model, source, index[:1], device) is None:
        return None
    rows = Rows((len(index), model.task.n_attributes))
    for places in mixed(index):
        if (told := _told(model, source, index[places], device)) is None:
            raise TrainingError(
                f"{kind.__name__}.predicted_attributes gave None for some images and attribute scores for others"
            )
        rows.put(places, told)
    return rows


def attribute_batches(
    model: Model, source: InputSource, index: Index, device: torch.device
) -> Iterator[Table] | None:
    """The same in batches (B, A) in the order of `index`."""
    rows = attribute_rows(model, source, index, device)
    return None if rows is None else rows.batches(np.arange(len(index)))


def _told(model: Model, source: InputSource, chosen: Index, device: torch.device) -> Table | None:
    with torch.inference_mode():
        told = model.predicted_attributes(source.batch(chosen).to(device))
    if told is None:
        return None
    told = told.float().cpu()
    if told.shape != (len(chosen), model.task.n_attributes) or told.isinf().any():
        fault = f"{tuple(told.shape)}{' with infinite values' if told.isinf().any() else ''}"
        raise TrainingError(
            f"{type(model).__name__}.predicted_attributes gave {fault} for {len(chosen)} images and {model.task.n_attributes} attributes; "
            "it must give a score for every image and attribute, or NaN for an attribute that it does not tell"
        )
    return told.numpy()
