"""Contents of a dataset's files, with faults and gaps, as input of the checks.

A Dataset cannot exist with faulty data; DatasetFiles holds all that can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import PARTS, Dataset, Images, Index, Maps
from zslkit.datasets.catalog import CardDataset, find_dataset
from zslkit.datasets.xlsa17 import Xlsa17, need_file, need_root
from zslkit.datasets.xlsa17_cache import Pooled, open_features
from zslkit.datasets.xlsa17_join import anchored, class_ids, plain
from zslkit.datasets.xlsa17_mat import read_split_variables
from zslkit.errors import DataError
from zslkit.readers.images import FileImages
from zslkit.readers.photos import find_photos
from zslkit.utils.files import lines_of, read_small


@dataclass
class DatasetFiles:
    """Contents of a dataset's files."""

    name: str
    title: str
    attributes: NDArray[Any]  # (C, A), negative entries included
    kind: str
    # Part -> image indices in the order of the file; also "train" and "val" where present
    locs: Mapping[str, Index]
    classes: tuple[str, ...] | None  # C names, None if the files have none
    known: Mapping[str, int]
    backbone: str = ""  # Default backbone, "" if there is none
    # (C, A) attributes scaled to length 1, where the files have them
    unit: NDArray[Any] | None = None
    labels: Index | None = None  # (N,) class ids, or None
    why_no_labels: str = ""
    images: Images | None = None
    why_no_images: str = ""
    parts: Sequence[str] = ()  # Part of each image in `images`, "" for none
    image_labels: Index | None = None  # Class of each image in `images`, where known
    features: NDArray[Any] | None = None  # (N, D) pooled features, or None
    maps: Maps | None = None
    # Names in trainvalclasses.txt ("seen") and testclasses.txt ("unseen"), where present
    class_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: bool = False  # Whether negative attributes mean unknown and become 0
    strays: tuple[str, ...] = ()  # Image files on disk that no list names
    # Check -> fault of a file that could not be read
    found_faults: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def class_sets(self) -> tuple[list[str], list[str]] | None:
        """Names of the seen and the unseen classes.

        They come from the labels, else from the class lists; None if both are missing.
        """
        if self.labels is not None and self.classes is not None and self.in_range():
            seen, unseen = (
                np.unique(self.labels[self.locs[part]]) for part in ("trainval", "test_unseen")
            )
            return [self.classes[k] for k in seen], [self.classes[k] for k in unseen]
        if len(self.class_lists) == 2:
            return list(self.class_lists["seen"]), list(self.class_lists["unseen"])
        return None

    def in_range(self) -> bool:
        """Whether all labels and locs are valid indices."""
        if self.labels is None:
            return False
        locs = np.concatenate([self.locs[part] for part in PARTS])
        limits = (locs, len(self.labels)), (self.labels, len(self.attributes))
        return len(locs) > 0 and all(bool(((ids >= 0) & (ids < n)).all()) for ids, n in limits)


def gather_files(name: str, root: Path) -> DatasetFiles:
    """Read all that can be read of a dataset.

    Raises:
        UnknownName: No dataset has this name.
        NameClash: Two distributions register this name.
        BrokenPlugin: The registered source fails.
        DataError: Nothing can be read.
    """
    named = find_dataset(name)
    if isinstance(named, CardDataset):
        return of_dataset(named.load(root), {})
    if issubclass(named.source, Xlsa17):
        return of_proposed_split(named.name, named.source(), root)
    return of_dataset(named.load(root), named.source.counts)


def of_dataset(dataset: Dataset, known: Mapping[str, int]) -> DatasetFiles:
    """Contents of a dataset that could be loaded."""
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
        parts=_parts(dataset.split.parts(), len(dataset.labels)),
        image_labels=dataset.labels,
        features=dataset.features,
        notes=dataset.notes,
        maps=dataset.maps,
    )


def of_proposed_split(name: str, source: Xlsa17, root: Path) -> DatasetFiles:
    """Contents of a benchmark of xlsa17.

    Only att_splits.mat is required; res101.mat, class lists and photos are read where present.
    """
    root = need_root(name, root)
    home = root / "xlsa17" / "data" / source.folder
    split_file = need_file(
        name, root, f"xlsa17/data/{source.folder}/{source.splits}", source.archive
    )
    split = read_split_variables(split_file)
    if source.table not in split.tables:
        raise DataError(
            f"{split_file} holds no variable {source.table!r}; is it the file of the proposed "
            "splits (xlsa17)?"
        )
    files = DatasetFiles(
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
        unknown=True,
        class_lists={
            kind: names for kind, file in _LISTS.items() if (names := _lines(home / file))
        },
    )
    read = _features(files, home / "res101.mat")
    photos = root / source.photos if source.photos else None
    if photos is None:
        files.why_no_images = f"{source.title} comes as features only"
    elif not photos.is_dir():
        files.why_no_images = f"there is no folder {photos}"
    else:
        _photos(files, photos, read)
    return files


_LISTS = {"seen": "trainvalclasses.txt", "unseen": "testclasses.txt"}


def _features(files: DatasetFiles, file: Path) -> Pooled | None:
    """Read res101.mat into `files`; faults are recorded."""
    if not file.is_file():
        return None
    try:
        read = open_features(file)
    except DataError as error:
        files.found_faults["read"] = str(error)
        files.why_no_labels = "res101.mat cannot be read"
        return None
    files.features, files.labels = read.features, read.labels
    if files.classes is not None and files.labels.max() < len(files.classes):
        try:
            files.labels = class_ids(
                files.name, files.classes, read.labels, [anchored(file) for file in read.files]
            )
        except DataError as error:
            files.found_faults["class names"] = str(error)
    return read


def _photos(files: DatasetFiles, home: Path, read: Pooled | None) -> None:
    """Find the photos: those listed in res101.mat, or without it all photos below `home`."""
    found = find_photos(home)
    present, files.notes = found.paths, (note,) if (note := found.note()) else ()
    if read is None:
        side = {plain(name): kind for kind, names in files.class_lists.items() for name in names}
        files.images = FileImages(home, present)
        files.parts = [side.get(plain(path.rpartition("/")[0]), "") for path in present]
        return
    listed = [anchored(file) for file in read.files]
    if any(path is None for path in listed):
        files.found_faults["photos"] = (
            "image_files in res101.mat holds paths without /images/ or /JPEGImages/; fetch it again"
        )
        files.why_no_images = "res101.mat does not say which photo is which"
        return
    paths = [str(path) for path in listed]
    try:
        files.images = FileImages(home, paths)
    except DataError as error:
        files.found_faults["photos"] = str(error)
        files.why_no_images = "the photos that res101.mat lists cannot be looked for"
        return
    files.parts, files.image_labels = _parts(files.locs, len(paths)), files.labels
    files.strays = tuple(sorted(set(present) - set(paths)))


def _parts(locs: Mapping[str, Index], n: int) -> list[str]:
    """Part of each of n images, "" for none."""
    named = [""] * n
    for part in PARTS:
        for i in locs[part]:
            if 0 <= i < n:
                named[i] = part
    return named


def _lines(file: Path) -> tuple[str, ...]:
    """Lines of a text file; empty if it cannot be read."""
    try:
        return tuple(lines_of(read_small(file)))
    except (OSError, ValueError):
        return ()
