"""Pictures of a page: wrongly classified images and attention maps, as small files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError, UserError
from zslkit.evaluation.sets import checked_sets
from zslkit.page.board import TableLine
from zslkit.runs.folders import Run

if TYPE_CHECKING:
    from PIL.Image import Image

    from zslkit.dataset import Dataset
    from zslkit.runs.load import LoadedRun
    from zslkit.utils.progress import Reporter

FOLDER = "images"
SIDE = 200
"""Pixels of the longer side."""
ATTRIBUTES = 3


@dataclass(frozen=True)
class Pictures:
    """Pictures of the data below `root` (None: no pictures): for each row so many wrongly
    classified images, and so many with attention maps, made on `device`."""

    root: Path | None = None
    errors: int = 12
    heat_maps: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Picture:
    """An image file, by its path relative to the page; sides in pixels."""

    file: str
    width: int
    height: int
    name: str


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image; margin: score of the predicted class above that of the true
    one."""

    picture: Picture
    true: str
    given: str
    unseen: bool
    margin: float


@dataclass(frozen=True)
class Look:
    """Attention of one part of a model to one image; maps: (attribute, its contribution to the
    prediction or "", picture)."""

    photo: Picture
    part: str
    true: str
    predicted: str
    maps: tuple[tuple[str, str, Picture], ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures of one row, from its first run."""

    line: TableLine
    run: Run
    mistakes: tuple[Mistake, ...] = ()
    wrong: int = 0
    looks: tuple[Look, ...] = ()


class Album:
    """Folder of pictures; an image that several rows show is written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._known: dict[tuple[str, int], Picture] = {}

    def photo(self, dataset: Dataset, index: int) -> Picture:
        """Small copy of an image of the dataset. Raises DataError as the dataset does."""
        key = (dataset.fingerprints()["split"] + dataset.name, index)
        if key not in self._known:
            assert dataset.images is not None
            self._known[key] = self.add(dataset.images.open(index), dataset.images.key(index))
        return self._known[key]

    def add(self, image: Image, name: str) -> Picture:
        """Write the image. Files are numbered, so that no untrusted name becomes a path."""
        self.folder.mkdir(exist_ok=True)
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        file = f"{self.count:04d}.jpg"
        self.count += 1
        small.save(self.folder / file, format="JPEG", quality=82, optimize=True)
        return Picture(f"{self.folder.name}/{file}", small.width, small.height, name)


def mistakes(run: Run, dataset: Dataset, count: int, album: Album) -> tuple[list[Mistake], int]:
    """Images that the run classifies wrongly with its gamma: those of the largest margin, one a
    true class, half of them unseen if there are enough.

    Returns:
        `count` images, and the number of all wrongly classified ones.

    Raises:
        DataError: The scores or an image cannot be read.
    """
    from zslkit.report.difference import image_of

    scores = run.scores()
    if scores.classes != dataset.classes:
        raise DataError(
            f"{run.folder} and {dataset.name} as it is here have other classes; give the "
            "--data-root of that time"
        )
    sets, gamma = checked_sets(*scores.sets()), run.record.protocol.gamma
    bias = np.where(sets.seen, 0.0, gamma)
    found: dict[str, list[tuple[float, int, int, int]]] = {}
    total = 0
    for part, own in sets.parts().items():
        answers = own.seen_unseen_margin.answers(gamma)
        wrong = np.flatnonzero(answers != own.labels)
        total += len(wrong)
        calibrated = own.scores.astype(np.float64) + bias
        margin = calibrated[wrong, answers[wrong]] - calibrated[wrong, own.labels[wrong]]
        order = np.argsort(-margin, kind="stable")
        best: dict[int, tuple[float, int, int, int]] = {}
        for k in order.tolist():
            i, true = int(wrong[k]), int(own.labels[wrong[k]])
            best.setdefault(true, (float(margin[k]), i, true, int(answers[i])))
        found[part] = list(best.values())
    seen, unseen = found["test_seen"], found["test_unseen"]
    half = max(count - len(seen), count - count // 2)
    chosen = [("test_unseen", case) for case in unseen[:half]]
    chosen += [("test_seen", case) for case in seen[: count - len(chosen)]]
    shown = []
    for part, (m, i, true, given) in chosen:
        picture, names = album.photo(dataset, image_of(dataset, part, i)), scores.classes
        shown.append(Mistake(picture, names[true], names[given], part == "test_unseen", m))
    return shown, total


def looks(trained: LoadedRun, count: int, album: Album) -> list[Look]:
    """Attention maps for `count` test images, alternating between both test sets.

    Raises:
        UserError: The model offers no attention.
    """
    from zslkit.explain.explanation import explain

    both = trained.some_test_images((count + 1) // 2)
    middle = (len(both) + 1) // 2
    turns = zip_longest(both[:middle].tolist(), both[middle:].tolist())
    index = np.array([i for turn in turns for i in turn if i is not None][:count], dtype=np.int64)
    photos = trained.photos_at(index)
    names, found = trained.dataset.semantics.names, []
    explained = explain(trained, trained.inputs.source.batch(index), top=ATTRIBUTES)
    images = trained.dataset.images
    for i, photo, explanation in zip(index.tolist(), photos, explained, strict=True):
        whole = album.add(_image(photo), images.key(i) if images is not None else str(i))
        for part, view in explanation.parts.items():
            maps = []
            for c in explanation.attributes:
                given = "" if view.contributions is None else f"{view.contributions[c]:+.2f}"
                maps.append((names[c], given, album.add(_over(photo, view.maps[c]), "")))
            true = trained.dataset.classes[int(trained.dataset.labels[i])]
            found.append(Look(whole, part, true, explanation.predicted, tuple(maps)))
    return found


def galleries(
    lines: Sequence[TableLine],
    runs: Mapping[str, Run],
    wanted: Pictures,
    root: Path,
    album: Album,
    reporter: Reporter,
) -> tuple[list[Gallery], list[str]]:
    """Mistakes and heat maps of each row's first run, and a sentence for each one missing."""
    from zslkit.report.difference import dataset_of
    from zslkit.runs.load import load_with_dataset
    from zslkit.utils.devices import choose_device

    found, faults, blind = [], [], []
    with reporter.phase("pictures", total=len(lines)) as phase:
        for line in lines:
            run = runs[line.row.folders[0]]
            wrong: tuple[list[Mistake], int] = ([], 0)
            seen: list[Look] = []
            try:
                if wanted.errors:
                    dataset = dataset_of(run, root)
                    if dataset.images is None:
                        raise DataError(
                            f"{dataset.name} has no images below {root}, so the page shows none "
                            "that were answered wrongly"
                        )
                    wrong = mistakes(run, dataset, wanted.errors, album)
            except UserError as error:
                faults.append(str(error))
            try:
                if wanted.heat_maps and not _attends(run):
                    blind.append(line.row.label)
                elif wanted.heat_maps:
                    trained = load_with_dataset(
                        run.folder, root, choose_device(wanted.device), reporter
                    )
                    seen = looks(trained, wanted.heat_maps, album)
            except UserError as error:
                faults.append(str(error))
            if wrong[0] or seen:
                found.append(Gallery(line, run, tuple(wrong[0]), wrong[1], tuple(seen)))
            phase.advance()
    if blind:
        faults.append(f"No heat maps of {', '.join(blind)}: such a model offers no attention")
    return found, list(dict.fromkeys(faults))


def _attends(run: Run) -> bool:
    """Whether the model overrides `attention`; checked before its features are loaded."""
    from zslkit.model import Model
    from zslkit.registry import MODELS

    info = run.record.model
    model = MODELS.load(f"{info.distribution}:{info.name}")[1]
    return model.attention is not Model.attention


def _image(pixels: NDArray[np.uint8]) -> Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _over(photo: NDArray[np.uint8], values: NDArray[np.float32]) -> Image:
    """A map over the photo, from its minimum (dark) to its maximum (bright)."""
    from matplotlib import colormaps

    from zslkit.explain.heatmaps import OPACITY, upsampled

    colours: Any = colormaps["inferno"](upsampled(values, *photo.shape[:2]))[..., :3]
    return _image(((1 - OPACITY) * photo + OPACITY * 255 * colours).round().astype(np.uint8))
