"""A trained model at work: the classes of photos that no dataset holds, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from zslkit.errors import DataError, TrainingError, UserError
from zslkit.evaluation.confidence import are_probabilities
from zslkit.features.preprocess import Pixels, Preprocessor
from zslkit.model import Model
from zslkit.readers.image_file import endings
from zslkit.readers.photos import find_photos
from zslkit.runs.folders import Run
from zslkit.utils.progress import Phase

Among = Literal["all", "seen", "unseen"]
Floats = NDArray[np.float64]

BATCH = 16
"""Images at once."""


class Opened(Protocol):
    """A finished run with its model, opened with its dataset (zslkit.runs.load) or without (zslkit.runs.load_portable)."""

    @property
    def run(self) -> Run: ...
    @property
    def model(self) -> Model: ...
    @property
    def sight(self) -> Preprocessor: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def gamma(self) -> float: ...


@dataclass(frozen=True)
class Answer:
    """One class for one image. score: with the run's gamma on unseen classes. share: of the softmax over the classes in question, 0 to 1.

    attributes: those that gave most to the score, with what each gave, strongest first; empty if the model scores no attributes.
    """

    name: str
    seen: bool
    score: float
    share: float
    attributes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Prediction:
    """An image with its likeliest classes, likeliest first; or, in their place, why it could not be read."""

    image: Path
    answers: tuple[Answer, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class FoundPhotos:
    """An image file. named: by the caller himself, not found in a folder."""

    path: Path
    named: bool


def images_of(
    places: Iterable[Path], tell: Callable[[str], None] = lambda note: None
) -> list[FoundPhotos]:
    """Files as they are named, and in their place for each folder all images in and below it, sorted.

    tell: is given a sentence for each folder with files that do not count. Raises UserError for what is not there and for
    a folder without images.
    """
    found: dict[Path, FoundPhotos] = {}
    for place in places:
        if place.is_dir():
            inside = find_photos(place)
            if not inside.paths:
                left = f" ({inside.note()})" if inside.others else ""
                raise UserError(
                    f"There is no image in the folder {place}{left}; images end in {', '.join(endings())}"
                )
            if inside.others:
                tell(f"{place}: {inside.note()}")
            for path in sorted(place / below for below in inside.paths):
                found.setdefault(path, FoundPhotos(path, named=False))
        elif place.is_file():
            found[place] = FoundPhotos(place, named=True)
        else:
            raise UserError(f"There is no image {place}; check the path")
    return list(found.values())


def predict(
    trained: Opened,
    found: Sequence[FoundPhotos],
    *,
    top: int = 5,
    among: Among = "all",
    attributes: int = 3,
    phase: Phase | None = None,
) -> Iterator[Prediction]:
    """The `top` likeliest classes of each image in order, read and answered a batch at a time.

    among: the classes in question; "unseen" is the classical zero-shot task, for which gamma does not matter. attributes: how many to name.
    At equal scores the class that stands first wins, as in the evaluator. Raises DataError that names the file if an
    image that was named cannot be read; one found in a folder is given back with its fault. Raises UserError if the run cannot see
    images.
    """
    trained.sight  # noqa: B018  a run that cannot see images says so before the first image
    seen = trained.model.task.seen
    classes = np.flatnonzero({"all": np.ones_like(seen), "seen": seen, "unseen": ~seen}[among])
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for i in range(0, len(found), BATCH):
            batch = found[i : i + BATCH]
            read = list(pool.map(lambda one: _read(trained, one), batch))
            photos = [photo for photo in read if not isinstance(photo, str)]
            answers = iter(_answered(trained, photos, classes, top, attributes) if photos else ())
            for one, photo in zip(batch, read, strict=True):
                yield (
                    Prediction(one.path, fault=photo)
                    if isinstance(photo, str)
                    else Prediction(one.path, next(answers))
                )
            if phase is not None:
                phase.advance(len(batch))


def _read(trained: Opened, one: FoundPhotos) -> Pixels | str:
    try:
        return trained.sight.photo(one.path)
    except DataError as error:
        if one.named:
            raise
        return str(error)


def _answered(
    trained: Opened, photos: Sequence[Pixels], classes: NDArray[np.int64], top: int, attributes: int
) -> list[tuple[Answer, ...]]:
    x = trained.sight.inputs(photos).to(trained.device)
    with torch.inference_mode():
        plain = trained.model.scores(x).double().cpu().numpy()
        told = trained.model.evidence(x) if attributes else None
    if not np.isfinite(plain).all():
        raise TrainingError(
            f"The model of {trained.run.folder} gives these images a score that is not finite; was its training stable?"
        )
    scores = plain + trained.gamma * ~trained.model.task.seen
    shares = _shares(plain, scores, classes)
    if told is not None and told.shape != (len(photos), trained.model.task.n_attributes):
        wanted = (len(photos), trained.model.task.n_attributes)
        raise UserError(
            f"{type(trained.model).__name__}.evidence gave {tuple(told.shape)} where {wanted[0]} images and {wanted[1]} attributes want "
            f"{wanted}, as zslkit.model.Model.evidence says; --top-attributes 0 leaves attributes out"
        )
    s = None if told is None else told.double().cpu().numpy()
    return [
        _ranked(
            trained, scores[b], shares[b], None if s is None else s[b], classes, top, attributes
        )
        for b in range(len(photos))
    ]


def _shares(plain: Floats, scores: Floats, classes: NDArray[np.int64]) -> Floats:
    """(B, C): of all that falls to `classes`, what each has. Scores that are probabilities already are taken as they are."""
    parts = (
        plain
        if are_probabilities(plain)
        else np.exp(scores - scores[:, classes].max(axis=1, keepdims=True))
    )
    shares: Floats = parts / parts[:, classes].sum(axis=1, keepdims=True).clip(
        min=np.finfo(np.float64).tiny
    )
    return shares


def _ranked(
    trained: Opened,
    scores: Floats,
    shares: Floats,
    s: Floats | None,
    classes: NDArray[np.int64],
    top: int,
    attributes: int,
) -> tuple[Answer, ...]:
    task, of_class = trained.model.task, trained.model.attributes.double().cpu().numpy()

    def spoke(k: int) -> tuple[tuple[str, float], ...]:
        if s is None:
            return ()
        given = of_class[k] * s
        strongest = np.argsort(-given, kind="stable")[:attributes]
        return tuple(
            (task.attribute_names[i], float(given[i])) for i in strongest.tolist() if given[i] > 0
        )

    order = classes[np.argsort(-scores[classes], kind="stable")[:top]].tolist()
    return tuple(
        Answer(task.classes[k], bool(task.seen[k]), float(scores[k]), float(shares[k]), spoke(k))
        for k in order
    )
