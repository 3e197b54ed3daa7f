"""Scores images with a trained model, in batches whose composition tells the model nothing.

Most datasets store the test images of a class together, so a model that looks at its batch would
see the class. Batches are therefore drawn from the whole table. Each takes one image from every
stretch of the table, so that a store on disk is read in as many straight lines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.dataset import Index
from zslkit.errors import TrainingError
from zslkit.model import Model
from zslkit.training.view import InputSource
from zslkit.utils import distributed
from zslkit.utils.memory import in_halves

Table = NDArray[np.float32]

SCORE_BATCH = 64
IN_MEMORY = 64 << 20
"""Bytes of a score table kept in memory; a larger one goes to a temporary file."""


class Rows:
    """A float32 table (N, C) that is filled row by row in any order.

    The file of a large table lies in `folder`; None for the system's temporary folder.
    """

    def __init__(self, shape: tuple[int, int], folder: Path | None = None) -> None:
        self.shape = shape
        self._table: Table | None = None
        self._file: IO[bytes] | None = None
        if shape[0] * shape[1] * 4 <= IN_MEMORY:
            self._table = np.empty(shape, dtype=np.float32)
        else:  # a file without a name, which disappears however this process ends
            self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, places: Index, rows: Table) -> None:
        """Store rows (B, C) at places (B,)."""
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
        """Read the rows (B, C) at places (B,)."""
        if self._table is not None:
            return self._table[places]
        assert self._file is not None
        taken = np.empty((len(places), self.shape[1]), dtype="<f4")
        for place, row in zip(places.tolist(), taken, strict=True):
            self._file.seek(place * self.shape[1] * 4)
            self._file.readinto(row.data.cast("B"))  # type: ignore[attr-defined]
        return taken

    def batches(self, places: Index) -> Iterator[Table]:
        """Read rows in batches of at most SCORE_BATCH."""
        return (self.take(places[i : i + SCORE_BATCH]) for i in range(0, len(places), SCORE_BATCH))


def mixed(index: Index) -> list[Index]:
    """Distribute images (N,) to batches that mix the whole table; equal index, equal batches.

    Returns positions in `index`, each in one batch of at most SCORE_BATCH, in random order.
    """
    ascending, number = np.argsort(index, kind="stable"), -(-len(index) // SCORE_BATCH)
    random = np.random.default_rng(len(index))
    return [random.permutation(ascending[first::number]) for first in range(number)]


def score(model: Model, source: InputSource, index: Index, device: torch.device) -> Table:
    """Uncalibrated float32 scores (N, C) of the images in `index`; raises as `score_rows`."""
    return score_rows(model, source, index, device).take(np.arange(len(index)))


def score_rows(
    model: Model,
    source: InputSource,
    index: Index,
    device: torch.device,
    folder: Path | None = None,
) -> Rows:
    """Uncalibrated scores (N, C) of the images `index` (N,) of a source.

    The file of a large table lies in `folder`, as in `Rows`.

    Raises:
        TrainingError: The scores have another shape or a value that is not finite.
    """
    model.eval()
    rows = Rows((len(index), model.task.n_classes), folder)
    for places, scores in _in_batches(partial(answer, model), source, index, device):
        rows.put(places, scores)
    return rows


def answer_rows(
    model: Model,
    source: InputSource,
    index: Index,
    device: torch.device,
    folder: Path | None = None,
) -> tuple[Rows, Rows | None]:
    """Uncalibrated scores (N, C) and attribute scores (N, A), None if the model has none.

    One pass over the inputs; arguments as of `score_rows`.

    Raises:
        TrainingError: Either has another shape, scores a value that is not finite, or attribute
            scores an infinite one.
    """
    if not offers_attributes(model):
        return score_rows(model, source, index, device, folder), None
    model.eval()
    scores = Rows((len(index), model.task.n_classes), folder)
    attributes = _AttributeRows(model, len(index), folder)
    for places, (z, s) in _in_batches(partial(answer_both, model), source, index, device):
        scores.put(places, z)
        attributes.put(places, s)
    return scores, attributes.rows


class _AttributeRows:
    """Attribute scores (N, A) of all images; `rows` is None if the model gives none."""

    def __init__(self, model: Model, count: int, folder: Path | None) -> None:
        self.rows: Rows | None = Rows((count, model.task.n_attributes), folder)
        self._model, self._some = model, False

    def put(self, places: Index, scores: Table | None) -> None:
        if scores is not None and self.rows is not None:
            self.rows.put(places, scores)
            self._some = True
        elif scores is not None or self._some:
            raise TrainingError(
                f"{type(self._model).__name__}.predicted_attributes gave None for some images "
                "and attribute scores for others"
            )
        else:
            self.rows = None


Answer = TypeVar("Answer")


def _in_batches(
    work: Callable[[Tensor], Answer], source: InputSource, index: Index, device: torch.device
) -> Iterator[tuple[Index, Answer]]:
    """Places of each mixed batch, and the work on its inputs."""
    batches = mixed(index)

    def done(places: Index) -> Answer:
        return work(source.batch(index[places]).to(device))

    if not distributed.several():
        yield from ((places, done(places)) for places in batches)
        return
    # Every process gets all answers, so that all decide alike; whole batches give the same bits as
    # one process.
    mine = batches[distributed.share(len(batches))]
    parts = distributed.gathered(lambda: [done(places) for places in mine])
    yield from zip(batches, (answer for part in parts for answer in part), strict=True)


def score_both(
    model: Model,
    source: InputSource,
    seen: Index,
    unseen: Index,
    device: torch.device,
    folder: Path | None = None,
) -> tuple[Iterator[Table], Iterator[Table]]:
    """Scores of two sets, computed in mixed batches together; batches (B, C) in the order of each.

    Raises:
        TrainingError: As `score_rows`.
    """
    rows = score_rows(model, source, np.concatenate([seen, unseen]), device, folder)
    places = np.arange(rows.shape[0])
    return rows.batches(places[: len(seen)]), rows.batches(places[len(seen) :])


def answer(model: Model, x: Tensor) -> Table:
    """The model's scores (B, C) of inputs x (B, ...) on its device; raises as `score_rows`."""
    with torch.inference_mode():
        scores = in_halves(model.scores, x).float().cpu()
    return _checked_scores(model, scores, len(x)).numpy()


def answer_both(model: Model, x: Tensor) -> tuple[Table, Table | None]:
    """The model's scores (B, C) and attribute scores (B, A) of inputs x (B, ...).

    Raises:
        TrainingError: As `answer_rows`.
    """
    ask = model.answers if answers_last(type(model)) else partial(Model.answers, model)

    def joined(x: Tensor) -> Tensor:
        scores, attributes = ask(x)
        parts = [_checked_scores(model, scores.float(), len(x))]
        if attributes is not None:
            parts.append(_checked_attributes(model, attributes.float(), len(x)))
        return torch.cat(parts, dim=1)

    with torch.inference_mode():
        both = in_halves(joined, x).cpu().numpy()
    count = model.task.n_classes
    return both[:, :count], both[:, count:] if both.shape[1] > count else None


def answers_last(model_class: type[Model]) -> bool:
    """Whether no class overrides `scores` or attribute scores below the one with `answers`."""
    order = model_class.__mro__

    def place(name: str) -> int:
        return next(i for i, owner in enumerate(order) if name in vars(owner))

    others = ("scores", "predicted_attributes", "evidence")
    return all(place("answers") <= place(name) for name in others)


def offers_attributes(model: Model) -> bool:
    """Whether the model's class may have attribute scores.

    Attention without a map of regions has nothing to look at, and may fail.
    """
    names = ["predicted_attributes", "evidence", "answers"]
    if model.task.map_shape is not None:
        names.append("attention")
    return any(getattr(type(model), name) is not getattr(Model, name) for name in names)


def _checked_scores(model: Model, scores: Tensor, count: int) -> Tensor:
    if scores.shape != (count, model.task.n_classes):
        raise TrainingError(
            f"{type(model).__name__}.scores gave {tuple(scores.shape)} for {count} images "
            f"and {model.task.n_classes} classes; "
            "it must give a score for every image and class"
        )
    if not torch.isfinite(scores).all():
        raise TrainingError(
            f"{type(model).__name__}.scores gave a value that is not finite; was training stable?"
        )
    return scores


def _checked_attributes(model: Model, scores: Tensor, count: int) -> Tensor:
    infinite = bool(scores.isinf().any())
    if scores.shape != (count, model.task.n_attributes) or infinite:
        fault = f"{tuple(scores.shape)}{' with infinite values' if infinite else ''}"
        raise TrainingError(
            f"{type(model).__name__}.predicted_attributes gave {fault} "
            f"for {count} images and {model.task.n_attributes} attributes; "
            "it must give a score for every image and attribute, "
            "or NaN for an attribute that it does not tell"
        )
    return scores


def attribute_table(
    model: Model, source: InputSource, index: Index, device: torch.device
) -> Table | None:
    """The attribute scores (N, A) of `answer_rows`, asked for by themselves."""
    model.eval()
    if not offers_attributes(model):
        return None
    attributes = _AttributeRows(model, len(index), None)
    for places, s in _in_batches(partial(_attribute_scores, model), source, index, device):
        attributes.put(places, s)
    return None if attributes.rows is None else attributes.rows.take(np.arange(len(index)))


def _attribute_scores(model: Model, x: Tensor) -> Table | None:
    with torch.inference_mode():
        scores = model.predicted_attributes(x)
    return (
        None if scores is None else _checked_attributes(model, scores.float().cpu(), len(x)).numpy()
    )
