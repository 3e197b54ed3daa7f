"""What there is of a dataset to look at, faults and gaps included: the subject of `zslkit.verify.checklist`.

A Dataset refuses to exist when something is wrong with it; this holds what the files say, as far as they can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import PARTS, Dataset, Images, Index, Maps
from zslkit.datasets.catalog import DATASETS, load_dataset
from zslkit.datasets.xlsa17 import Xlsa17, need_file, need_root
from zslkit.datasets.xlsa17_cache import Pooled, open_features
from zslkit.datasets.xlsa17_join import anchored, class_ids, plain
from zslkit.datasets.xlsa17_mat import read_split_variables
from zslkit.errors import DataError
from zslkit.readers.images import FileImages
from zslkit.readers.photos import find_photos
from zslkit.registry import is_card
from zslkit.utils.files import read_small


@dataclass
class DatasetFiles:
    """A dataset as its files have it.

    locs: part -> image indices, in the file's order; "train" and "val" beside the three sets where a file has them.
    classes: C names, None where the files have none. attributes (C, A), not clipped. unit: that table scaled to length 1, if
    the files bring it. labels (N,) or None, and why. images: N images, or None, and why; parts says where one belongs.
    found_faults: check -> what was wrong with what could not be read.
    """

    name: str
    title: str
    attributes: NDArray[Any]
    kind: str
    locs: Mapping[str, Index]
    classes: tuple[str, ...] | None
    known: Mapping[str, int]
    backbone: str = ""
    unit: NDArray[Any] | None = None
    labels: Index | None = None
    why_no_labels: str = ""
    images: Images | None = None
    why_no_images: str = ""
    parts: Sequence[str] = ()
    """Part of each image in `images`, "" for none."""
    image_labels: Index | None = None
    """Class of each image in `images`, where it is known."""
    features: NDArray[Any] | None = None
    maps: Maps | None = None
    class_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names in trainvalclasses.txt ("seen") and testclasses.txt ("unseen"), where these are there."""
    strays: tuple[str, ...] = ()
    """Image files on disk that no list names."""
    found_faults: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """As in Dataset."""

    def class_sets(self) -> tuple[list[str], list[str]] | None:
        """Names of the seen and of the unseen classes: by labels, else by the lists of classes; None if neither tells."""
        if self.labels is not None and self.classes is not None and self.in_range():
            seen, unseen = (
                np.unique(self.labels[self.locs[part]]) for part in ("trainval", "test_unseen")
            )
            return [self.classes[k] for k in seen], [self.classes[k] for k in unseen]
        if len(self.class_lists) == 2:
            return list(self.class_lists["seen"]), list(self.class_lists["unseen"])
        return None

    def in_range(self) -> bool:
        """Whether labels and locs point to what exists, so that they can be used as indices."""
        if self.labels is None:
            return False
        n, c = len(self.labels), len(self.attributes)
        locs = np.concatenate([self.locs[part] for part in PARTS])
        return bool(
            len(locs)
            and locs.min() >= 0
            and locs.max() < n
            and self.labels.min() >= 0
            and self.labels.max() < c
        )


def gather_files(name: str, root: Path) -> DatasetFiles:
    """Everything that can be read of the dataset `name` (registered, or the path of a card) below `root`.

    Raises UnknownName, NameClash or BrokenPlugin, and DataError if nothing can be read.
    """
    if not is_card(name):
        entry, source = DATASETS.load(name)
        if issubclass(source, Xlsa17):
            return of_proposed_split(entry.name, source(), root)
        return of_dataset(load_dataset(name, root), source.counts)
    return of_dataset(load_dataset(name, root), {})


def of_dataset(dataset: Dataset, known: Mapping[str, int]) -> DatasetFiles:
    """A dataset that could be loaded."""
    parts = _parts(dataset.split.parts(), len(dataset.labels))
    return DatasetFiles(
        name=dataset.name,
        title=dataset.title or dataset.name,
        attributes=dataset.semantics.attributes,
        kind=dataset.semantics.kind,
        locs=dataset.split.parts(),
        classes=dataset.classes,
        known=known,
        backbone=str(dataset.defaults.get("backbone", "")),
        labels=dataset.labels,
        images=dataset.images,
        why_no_images="" if dataset.images is not None else "the dataset has features only",
        parts=parts,
        image_labels=dataset.labels,
        features=dataset.features,
        notes=dataset.notes,
        maps=dataset.maps,
    )


def of_proposed_split(name: str, source: Xlsa17, root: Path) -> DatasetFiles:
    """A dataset of xlsa17. att_splits.mat is enough; res101.mat, class lists and photos are looked at where they are there."""
    root = need_root(name, root)
    home = root / "xlsa17" / "data" / source.folder
    split_file = need_file(
        name, root, f"xlsa17/data/{source.folder}/{source.splits}", source.archive
    )
    split = read_split_variables(split_file)
    if source.table not in split.tables:
        raise DataError(
            f"{split_file} holds no variable {source.table!r}; is it the file of the proposed splits (xlsa17)?"
        )
    made = DatasetFiles(
        name=name,
        title=source.title,
        attributes=split.tables[source.table].T,
        kind=source.kind,
        locs=split.locs,
        classes=split.classes,
        known=source.counts,
        backbone=str(source.defaults.get("backbone", "")),
        unit=split.tables["att"].T if source.table != "att" and "att" in split.tables else None,
        why_no_labels="there is no res101.mat",
        class_lists={
            kind: names for kind, file in _LISTS.items() if (names := _lines(home / file))
        },
    )
    read = _features(made, home / "res101.mat")
    photos = root / source.photos if source.photos else None
    if photos is None:
        made.why_no_images = f"{source.title} comes as features only"
    elif not photos.is_dir():
        made.why_no_images = f"there is no folder {photos}"
    else:
        _photos(made, photos, read)
    return made


_LISTS = {"seen": "trainvalclasses.txt", "unseen": "testclasses.txt"}


def _features(made: DatasetFiles, file: Path) -> Pooled | None:
    if not file.is_file():
        return None
    try:
        read = open_features(file)
    except DataError as error:
        made.found_faults["read"] = str(error)
        made.why_no_labels = "res101.mat cannot be read"
        return None
    made.features, made.labels = read.features, read.labels
    if made.classes is not None and made.labels.max() < len(made.classes):
        try:
            made.labels = class_ids(
                made.name, made.classes, read.labels, [anchored(file) for file in read.files]
            )
        except DataError as error:
            made.found_faults["class names"] = str(error)
    return read


def _photos(made: DatasetFiles, home: Path, read: Pooled | None) -> None:
    """The photos that res101.mat lists, missing ones too; without it all that lie below `home`, by their class folders."""
    found = find_photos(home)
    there, made.notes = found.paths, (note,) if (note := found.note()) else ()
    if read is None:
        side = {plain(name): kind for kind, names in made.class_lists.items() for name in names}
        made.images = FileImages(home, there)
        made.parts = [side.get(plain(path.rpartition("/")[0]), "") for path in there]
        return
    listed = [anchored(file) for file in read.files]
    if any(path is None for path in listed):
        made.found_faults["photos"] = (
            "image_files in res101.mat holds paths without /images/ or /JPEGImages/; fetch it again"
        )
        made.why_no_images = "res101.mat does not say which photo is which"
        return
    paths = [str(path) for path in listed]
    try:
        made.images = FileImages(home, paths)
    except DataError as error:
        made.found_faults["photos"] = str(error)
        made.why_no_images = "the photos that res101.mat lists cannot be looked for"
        return
    made.parts, made.image_labels = _parts(made.locs, len(paths)), made.labels
    made.strays = tuple(sorted(set(there) - set(paths)))


def _parts(locs: Mapping[str, Index], n: int) -> list[str]:
    named = [""] * n
    for part in PARTS:
        for i in locs[part]:
            if 0 <= i < n:
                named[i] = part
    return named


def _lines(file: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in read_small(file).splitlines() if line.strip())
    except (OSError, ValueError):
        return ()
