"""Predicts the classes of photos that are in no dataset, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from zslkit.errors import DataError, TrainingError, UserError, did_you_mean
from zslkit.evaluation.confidence import are_probabilities
from zslkit.features.preprocess import Pixels
from zslkit.readers.image_file import endings, is_picture, photo_name, read_photo
from zslkit.readers.photos import find_photos
from zslkit.utils.progress import Phase

if TYPE_CHECKING:
    from PIL.Image import Image

    from zslkit.readers.image_file import Photo
    from zslkit.runs.trained import Opened

Among = Literal["all", "seen", "unseen"]
Floats = NDArray[np.float64]

BATCH = 16
"""Images per batch."""


@dataclass(frozen=True)
class Answer:
    """One class for one image.

    Attributes:
        score: Score, with the run's gamma for unseen classes.
        share: Softmax over the candidate classes, 0..1.
        attributes: Attributes with the largest contributions to the score, largest first; empty if
            the model scores no attributes.
    """

    name: str
    seen: bool
    score: float
    share: float
    attributes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Prediction:
    """An image with its most likely classes, or with the reason why it cannot be read.

    Attributes:
        image: Path of the image; a text for an image of Pillow.
        answers: The classes, most likely first.
        fault: Why the image cannot be read, or "".
    """

    image: Path | str
    answers: tuple[Answer, ...] = ()
    fault: str = ""

    @property
    def predicted(self) -> str:
        """The most likely class, or "" for an image that cannot be read."""
        return self.answers[0].name if self.answers else ""


@dataclass(frozen=True)
class FoundPhotos:
    """An image file, or an image of Pillow; `named` if the caller named it, not its folder."""

    photo: Path | Image
    named: bool

    @property
    def path(self) -> Path | str:
        """Path of the file; for an image of Pillow, a text that tells it."""
        return self.photo if isinstance(self.photo, Path) else photo_name(self.photo)


def images_of(
    places: Iterable[Photo], tell: Callable[[str], None] = lambda note: None
) -> list[FoundPhotos]:
    """Image files: those named, and all images in and below named folders, sorted.

    Images of Pillow stay where they are in the order. `tell` gets a sentence for each folder with
    other files.

    Raises:
        UserError: A path does not exist, or a folder has no images.
    """
    found: dict[Path | int, FoundPhotos] = {}
    for given in places:
        if not isinstance(given, (str, os.PathLike)):
            if not is_picture(given):
                read_photo(given)  # raises: it says what a photo is
            found[len(found)] = FoundPhotos(given, named=True)
            continue
        place = Path(given)
        if place.is_dir():
            inside = find_photos(place)
            if not inside.paths:
                left = f" ({inside.note()})" if inside.others else ""
                raise UserError(
                    f"There is no image in the folder {place}{left}; images end in "
                    f"{', '.join(endings())}"
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
    """The most likely classes of each image, in order, batch by batch.

    At equal scores the first class wins, as in the evaluator.

    Args:
        among: Candidate classes; "unseen" is classical zero-shot learning, for which gamma does not
            matter.

    Raises:
        DataError: A named image cannot be read. An image found in a folder gives a Prediction with
            the reason instead.
        UserError: The run cannot process images.
    """
    trained.preprocessor  # noqa: B018  raises before the first image if the run cannot process images
    seen = trained.model.task.seen
    sides = {"all": np.ones_like(seen), "seen": seen, "unseen": ~seen}
    if among not in sides:
        raise UserError(
            f"The classes to choose from are all, seen or unseen, and not {among!r}"
            f"{did_you_mean(str(among), sides)}; files of new classes are for: zslkit predict "
            "--classes"
        )
    classes = np.flatnonzero(sides[among])
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for i in range(0, len(found), BATCH):
            batch = found[i : i + BATCH]
            read = list(pool.map(lambda one: _read(trained, one), batch))
            photos = [photo for photo in read if not isinstance(photo, str)]
            answers = iter(_answered(trained, photos, classes, top, attributes) if photos else ())
            for one, photo in zip(batch, read, strict=True):
                fault = photo if isinstance(photo, str) else ""
                yield Prediction(one.path, () if fault else next(answers), fault)
            if phase is not None:
                phase.advance(len(batch))


def _read(trained: Opened, one: FoundPhotos) -> Pixels | str:
    try:
        return trained.preprocessor.photo(one.photo)
    except DataError as error:
        if one.named:
            raise
        return str(error)


def _answered(
    trained: Opened, photos: Sequence[Pixels], classes: NDArray[np.int64], top: int, attributes: int
) -> list[tuple[Answer, ...]]:
    x = trained.preprocessor.inputs(photos).to(trained.device)
    with torch.inference_mode():
        plain = trained.model.scores(x).double().cpu().numpy()
        evidence = trained.model.evidence(x) if attributes else None
    if not np.isfinite(plain).all():
        raise TrainingError(
            f"The model of {trained.run.folder} gives these images a score that is not finite; "
            "was its training stable?"
        )
    scores = plain + trained.gamma * ~trained.model.task.seen
    shares = _shares(plain, scores, classes)
    wanted = (len(photos), trained.model.task.n_attributes)
    if evidence is not None and evidence.shape != wanted:
        raise UserError(
            f"{type(trained.model).__name__}.evidence gave {tuple(evidence.shape)} where "
            f"{wanted[0]} images and {wanted[1]} attributes want "
            f"{wanted}, as zslkit.model.Model.evidence says; --top-attributes 0 leaves attributes "
            "out"
        )
    told = [None] * len(photos) if evidence is None else list(evidence.double().cpu().numpy())
    rows = zip(scores, shares, told, strict=True)
    return [_ranked(trained, *row, classes, top, attributes) for row in rows]


def _shares(plain: Floats, scores: Floats, classes: NDArray[np.int64]) -> Floats:
    """Probabilities `(B, C)` over `classes`.

    Scores that are probabilities already are only normalised.
    """
    parts = plain
    if not are_probabilities(plain):
        parts = np.exp(scores - scores[:, classes].max(axis=1, keepdims=True))
    whole = parts[:, classes].sum(axis=1, keepdims=True)
    shares: Floats = parts / whole.clip(min=np.finfo(np.float64).tiny)
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

    def contributions(k: int) -> tuple[tuple[str, float], ...]:
        if s is None:
            return ()
        given = of_class[k] * s
        strongest = np.argsort(-given, kind="stable")[:attributes]
        return tuple(
            (task.attribute_names[i], float(given[i])) for i in strongest.tolist() if given[i] > 0
        )

    order = classes[np.argsort(-scores[classes], kind="stable")[:top]].tolist()
    facts = ((bool(task.seen[k]), float(scores[k]), float(shares[k])) for k in order)
    return tuple(
        Answer(task.classes[k], *fact, contributions(k))
        for k, fact in zip(order, facts, strict=True)
    )
