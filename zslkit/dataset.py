"""A dataset in memory: images or features, labels, the split, and the semantics of every class."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError, UserError
from zslkit.semantics import Semantics

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Index = NDArray[np.int64]
WITHOUT_VALIDATION = (
    "to pick nothing there, set protocol.calibration=none, protocol.selection=last and "
    "protocol.tune=false"
)
"""Next step where a dataset is too small for a validation fold."""
Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) as fractions of the image size, from the upper left corner."""


class Images(Protocol):
    """Sequence of images, opened one at a time, from any process."""

    def __len__(self) -> int: ...

    def open(self, index: int) -> Image:
        """The decoded RGB image.

        Raises:
            DataError: The file cannot be read; the message names it.
        """

    def key(self, index: int) -> str:
        """Stable name of the image: its path inside the dataset's folder, separated by '/'."""

    def digest(self) -> str:
        """Fingerprint of the content of all images, in order."""


class Maps(Protocol):
    """Feature maps of N images that come with a dataset and stay on disk."""

    def __len__(self) -> int: ...

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of one map."""

    @property
    def fingerprint(self) -> str:
        """Digest of everything that determines the values."""

    def maps(self, index: Index) -> Tensor:
        """Maps `(B, D, H, W)` float32 on the CPU."""

    def stored_maps(self, index: Index) -> Tensor:
        """Maps `(B, D, H, W)` in the type on disk."""

    def pooled(self, index: Index) -> Tensor:
        """Means over positions, `(B, D)` float32."""


def members_of(labels: Index, count: int) -> list[Index]:
    """Image indices of each class 0..count-1, in rising order; other labels (N,) are left out.

    Sorts once, since a search per class would cost images times classes.
    """
    order = np.argsort(labels, kind="stable")
    edges = np.searchsorted(labels[order], np.arange(count + 1))
    return [order[a:b] for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]


PARTS: Final = ("trainval", "test_seen", "test_unseen")
"""The sets of a split, in the order in which everything lists them."""


@dataclass(frozen=True)
class Split:
    """Image indices of the three sets of the generalized zero-shot protocol (Xian et al. 2018)."""

    trainval: Index
    test_seen: Index
    test_unseen: Index

    def parts(self) -> dict[str, Index]:
        return {part: getattr(self, part) for part in PARTS}


@dataclass(frozen=True)
class Dataset:
    """Everything the harness knows of a dataset. Models only get a TrainingView and a Task.

    At least one of `images`, `features` and `maps` is given; `images` are preferred.

    Attributes:
        name: Registry name.
        classes: Names of all C classes.
        labels: `(N,)` class id of every image; -1 for images of no class, as in validation folds.
        split: Image indices of trainval, test_seen and test_unseen.
        semantics: Class-attribute table and what belongs to it.
        images: The N images.
        features: `(N, D)` pooled features.
        title: Display name in tables ("CUB-200-2010, 224 px").
        defaults: Default settings of the `features` section for this dataset.
        places: Attribute column -> box that contains this attribute in every image that has it.
            Only used by explanations; not part of the fingerprints.
        maps: Feature maps on disk.
        origin: File and program that `features` and `maps` come from, for the record.
        features_digest: Fingerprint of `features`, 16 hex digits, if known without reading them.
        skipped: Images that `without` removed from the split.
        notes: Remarks on reading the files, shown by `run`, `data verify` and `data info`.
        image_attributes: `(N, A)` float32 attributes of the images themselves, NaN where unknown;
            only attribute metrics use them.
        encoder: Sentence encoder of the semantics and digest of its weights, for the record.
        of_test_photos: Whether the attributes of unseen classes are means over their own test
            photos, so that no result is inductive.
    """

    name: str
    classes: tuple[str, ...]
    labels: Index
    split: Split
    semantics: Semantics
    images: Images | None = None
    features: NDArray[np.floating[Any]] | None = None
    title: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[int, Box] = field(default_factory=dict)
    maps: Maps | None = None
    origin: str = ""
    features_digest: str = ""
    skipped: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    image_attributes: NDArray[np.float32] | None = None
    encoder: str = ""
    of_test_photos: bool = False

    def __post_init__(self) -> None:
        if fault := self._fault():
            raise DataError(f"{self.name}: {fault}")

    def _fault(self) -> str:
        """What does not fit together; "" if everything does."""
        n, c, parts = len(self.labels), len(self.classes), self.split.parts()
        holders = [part for part in (self.images, self.features, self.maps) if part is not None]
        if not holders:
            return "there are neither images nor features"
        for held in map(len, holders):
            if held != n:
                return f"{held} images or features but {n} labels"
        if self.image_attributes is not None and len(self.image_attributes) != n:
            return f"{n} images but {len(self.image_attributes)} rows of attributes of images"
        if (rows := len(self.semantics.attributes)) != c:
            return f"{c} classes but {rows} rows in the class-attribute table"
        for column, (x0, y0, x1, y1) in self.places.items():
            known = 0 <= column < len(self.semantics.names)
            if not (known and 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
                return (
                    f"the place of attribute {column} is no box x0 < x1, y0 < y1 in 0..1, "
                    "or there is no such column"
                )
        if len(set(self.classes)) != c:
            return "a class name stands twice"
        for part, index in parts.items():
            if len(index) == 0:
                return f"{part} is empty"
            if index.min() < 0 or index.max() >= n:
                return f"{part} points outside the {n} images"
            if len(np.unique(index)) != len(index):
                return f"{part} holds an image twice"
            labels = self.labels[index]
            if labels.min() < 0 or labels.max() >= c:
                return f"{part} holds a label outside 0..{c - 1}"
        for (a, left), (b, right) in combinations(parts.items(), 2):
            if common := len(np.intersect1d(left, right)):
                return f"{a} and {b} share {common} images; a split must not overlap"
        trained, seen, unseen = (np.unique(self.labels[index]) for index in parts.values())
        if len(both := np.intersect1d(unseen, trained)):
            named = f"({self.classes[both[0]]!r}, ...)"
            return f"{len(both)} classes stand in trainval and in test_unseen {named}"
        if len(strange := np.setdiff1d(seen, trained)):
            named = f"({self.classes[strange[0]]!r}, ...)"
            return f"{len(strange)} classes of test_seen have no image in trainval {named}"
        return ""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """`(C,)` True for classes with images in trainval."""
        mask = np.zeros(len(self.classes), dtype=bool)
        mask[np.unique(self.labels[self.split.trainval])] = True
        return mask

    def fold(
        self, seed: int, part: int = 0, unseen_share: float | None = None, image_share: float = 0.2
    ) -> Dataset:
        """Validation dataset made from trainval alone, which imitates the test.

        Some seen classes play the unseen ones; a share of the images of each other class plays
        test_seen. The true unseen classes and both test sets are left out, so selection on a fold
        uses no test data. Equal arguments give equal folds; parts of one seed hold out different
        classes.

        Args:
            part: Number of the fold, from 0.
            unseen_share: Share of the seen classes to hold out; by default the share of unseen
                classes in the dataset.
            image_share: Share of images per remaining class that plays test_seen.

        Raises:
            DataError: Too few seen classes for that many parts, or one image a class.
        """
        rng = np.random.default_rng(seed)
        old = np.flatnonzero(self.seen)
        share = 1 - len(old) / len(self.classes) if unseen_share is None else unseen_share
        count = min(max(round(share * len(old)), 1), len(old) - 1)
        if len(old) < 2:
            raise DataError(
                f"{self.name}: validation needs two seen classes or more; {WITHOUT_VALIDATION}"
            )
        if (part + 1) * count > len(old):
            raise DataError(
                f"{self.name}: {part + 1} folds that hold out {count} of {len(old)} seen classes "
                f"each would share some; set protocol.folds to {len(old) // count} or less"
            )
        held_out = set(rng.permutation(len(old))[part * count : (part + 1) * count].tolist())
        new_id = np.full(len(self.classes) + 1, -1, dtype=np.int64)
        new_id[old] = np.arange(len(old))
        labels = np.full(len(self.labels), -1, dtype=np.int64)
        labels[self.split.trainval] = new_id[self.labels[self.split.trainval]]
        train: list[Index] = []
        val_seen: list[Index] = []
        val_unseen: list[Index] = []
        for k, members in enumerate(members_of(labels, len(old))):
            if k in held_out:
                val_unseen.append(members)
                continue
            members = rng.permutation(members)
            cut = min(max(round(image_share * len(members)), 0), len(members) - 1)
            val_seen.append(members[:cut])
            train.append(members[cut:])
        if image_share > 0 and not any(map(len, val_seen)):
            # Small classes: one image of each that has another.
            val_seen = [members[:1] for members in train if len(members) > 1]
            train = [members[len(members) > 1 :] for members in train]
        if not val_seen:
            raise DataError(
                f"{self.name}: validation needs two trainval images of a seen class; "
                f"{WITHOUT_VALIDATION}"
            )
        split = Split(*(np.sort(np.concatenate(part)) for part in (train, val_seen, val_unseen)))
        number = f"{seed}.{part}" if part else f"{seed}"
        return replace(
            self,
            classes=tuple(self.classes[k] for k in old),
            labels=labels,
            split=split,
            semantics=self.semantics.of(old),
            title=f"{self.title or self.name}, validation fold {number}",
        )

    def without(self, index: Collection[int], images: Images | None = None) -> Dataset:
        """Copy without the images at `index` in its split; image numbers do not change.

        Raises:
            DataError: A set of the split becomes empty.
        """
        gone = np.array(sorted(index), dtype=np.int64)
        split = Split(*(part[~np.isin(part, gone)] for part in self.split.parts().values()))
        skipped = tuple(gone.tolist())
        return replace(self, split=split, images=images or self.images, skipped=skipped)

    def fingerprints(self) -> dict[str, str]:
        """Digests that decide whether two results are comparable, 16 hex digits each.

        "split" covers class names, labels, attributes of images and image indices; "semantics"
        covers the class-attribute table, word vectors, and whether the table was made from test
        photos.
        """
        split = hashlib.sha256("\n".join(self.classes).encode())
        split.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        for index in self.split.parts().values():
            split.update(b"|" + np.sort(index).astype("<i8").tobytes())
        if self.image_attributes is not None:
            split.update(b"|" + np.ascontiguousarray(self.image_attributes, dtype="<f4").tobytes())
        semantics = self.semantics.fingerprint()
        if self.of_test_photos:
            semantics = hashlib.sha256(f"{semantics} of test photos".encode()).hexdigest()[:16]
        return {"split": split.hexdigest()[:16], "semantics": semantics}


class DatasetSource(ABC):
    """Base class of an entry in `zslkit.datasets`: builds a Dataset.

    Write the class attributes below as literals: `zslkit datasets` reads them without importing.
    """

    title: ClassVar[str] = ""
    """Display name in tables."""
    citation: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Default `features` settings of the dataset; presets override them."""
    published_as: ClassVar[str] = ""
    """Dataset name of comparable published results; empty if there are none."""
    downloads: ClassVar[Sequence[str | Mapping[str, Any]]] = ()
    """Archives that `zslkit data download` fetches, in order.

    Each is the name of a shared archive (`sources.yaml` of zslkit), `{"shared": name, "holds":
    [...]}` for some of its files, or a description:

        {"file": "birds.zip", "urls": ["https://example.org/birds.zip"], "sha256": "...",
         "size": 1200000, "licence": "CC BY 4.0", "folder": "birds", "holds": ["classes.csv"]}

    `file`: archive name in the data root and on mirrors. `urls`: tried in order. `folder`:
    destination inside the data root. `holds`: paths inside `folder` after unpacking; wrapping
    folders in the archive are dropped. Optional: `only` (folders to unpack), `size` (approximate
    bytes), `licence`, `md5`, `sha256` (without it the first download records it)."""
    counts: ClassVar[Mapping[str, int]] = {}
    """Expected numbers, for verification.

    Keys: images, attributes, seen, unseen, trainval, test_seen, test_unseen."""

    def looks_for(self, root: Path) -> Mapping[str, tuple[Path, ...]]:
        """Files of the dataset, for `zslkit data info` and `zslkit doctor`. Reads nothing.

        Returns:
            Part ("photos") -> candidate paths; the first that exists is used. Empty for a dataset
            without files.
        """
        return {}

    @abstractmethod
    def load(self, name: str, root: Path) -> Dataset:
        """Read the dataset.

        Args:
            name: Registry name.
            root: Folder of --data-root.

        Raises:
            DataError: A file is missing or wrong; the message names its path.
        """

    def attribute_names(self, name: str, root: Path) -> tuple[str, ...]:
        """Attribute names, as `load` gives them.

        Override where they are known without reading images.
        """
        return self.load(name, root).semantics.names

    def attribute_words(self, root: Path) -> Mapping[str, str]:
        """Attribute name -> plain English words, where the name is not readable as words.

        Word vectors are made of these words.
        """
        return {}

    def word_vector_files(self, root: Path) -> tuple[Path, ...]:
        """Candidate files with word vectors of the attributes; the first that exists is used."""
        return ()


def check_dataset(name: str, loaded: Any) -> None:
    """Raise UserError unless a registered object is a DatasetSource that can be instantiated."""
    if not (isinstance(loaded, type) and issubclass(loaded, DatasetSource)):
        raise UserError(f"it is {loaded!r}, and no subclass of zslkit.dataset.DatasetSource")
    if loaded.__abstractmethods__:
        raise UserError(f"{loaded.__name__} lacks {', '.join(sorted(loaded.__abstractmethods__))}")
