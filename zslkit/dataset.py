"""A dataset in memory: images or features, labels, the split, and the semantics of every class."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.semantics import Semantics

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Index = NDArray[np.int64]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions of an image, from its upper left corner."""


class Images(Protocol):
    """A sequence of images that can be opened one by one, from any process."""

    def __len__(self) -> int: ...

    def open(self, index: int) -> Image:
        """The decoded RGB image. Raises DataError that names the file."""
        ...

    def key(self, index: int) -> str:
        """A stable name of the image: its path below the dataset's folder, with '/' between parts."""
        ...

    def digest(self) -> str:
        """A fingerprint of the content of all images, in order."""
        ...


class Maps(Protocol):
    """Feature maps of N images that came with a dataset, kept on disk."""

    def __len__(self) -> int: ...

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of one map."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of all that decides the values."""
        ...

    def maps(self, index: Index) -> Tensor:
        """(B, D, H, W) float32 on the CPU."""
        ...

    def stored_maps(self, index: Index) -> Tensor:
        """(B, D, H, W) in the type in which they are kept."""
        ...

    def pooled(self, index: Index) -> Tensor:
        """Their means over positions, (B, D) float32."""
        ...


def members_of(labels: Index, count: int) -> list[Index]:
    """The images of each class 0..count-1, in rising order. labels (N,) class ids; an image with another one is in none.

    Sorted once: to look for each class anew would take images times classes.
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
    """Everything the harness knows of a dataset. A model never sees this object, only a TrainingView and a Task.

    name: registry name. title: what tables print ("CUB-200-2010, 224 px").
    classes: C names. labels (N,): class id of every image, -1 where the image belongs to no class of this dataset
    (as in a validation fold). Of images, features (N, D) and maps there is one at least; images go before what came with them.
    origin: which file of which program features and maps are from, as records say it. features_digest: fingerprint of `features`,
    16 hex digits, where it is known without reading them.
    defaults: the dataset's own wishes for the configuration's `features` section.
    places: attribute column -> where in every image that has the attribute it is; only for explanations, no part of the fingerprints.
    skipped: images that `without` took out of the split.
    notes: sentences about how it was read, such as files that do not count; `run`, `data verify` and `data info` tell them.
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

    def __post_init__(self) -> None:
        n, c = len(self.labels), len(self.classes)
        holders = [part for part in (self.images, self.features, self.maps) if part is not None]
        if not holders:
            raise DataError(f"{self.name}: there are neither images nor features")
        for held in map(len, holders):
            if held != n:
                raise DataError(f"{self.name}: {held} images or features but {n} labels")
        if len(self.semantics.attributes) != c:
            raise DataError(
                f"{self.name}: {c} classes but {len(self.semantics.attributes)} rows in the class-attribute table"
            )
        for column, (x0, y0, x1, y1) in self.places.items():
            if not (
                0 <= column < len(self.semantics.names) and 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
            ):
                raise DataError(
                    f"{self.name}: the place of attribute {column} is no box x0 < x1, y0 < y1 in 0..1, or there is no such column"
                )
        if len(set(self.classes)) != c:
            raise DataError(f"{self.name}: a class name stands twice")
        for part, index in self.split.parts().items():
            if len(index) == 0:
                raise DataError(f"{self.name}: {part} is empty")
            if index.min() < 0 or index.max() >= n:
                raise DataError(f"{self.name}: {part} points outside the {n} images")
            if len(np.unique(index)) != len(index):
                raise DataError(f"{self.name}: {part} holds an image twice")
            labels = self.labels[index]
            if labels.min() < 0 or labels.max() >= c:
                raise DataError(f"{self.name}: {part} holds a label outside 0..{c - 1}")
        parts = list(self.split.parts().items())
        for i, (a, left) in enumerate(parts):
            for b, right in parts[i + 1 :]:
                if common := len(np.intersect1d(left, right)):
                    raise DataError(
                        f"{self.name}: {a} and {b} share {common} images; a split must not overlap"
                    )
        unseen = set(np.unique(self.labels[self.split.test_unseen]))
        trained = set(np.unique(self.labels[self.split.trainval]))
        if both := unseen & trained:
            raise DataError(
                f"{self.name}: {len(both)} classes stand in trainval and in test_unseen ({self.classes[min(both)]!r}, ...)"
            )
        if strange := set(np.unique(self.labels[self.split.test_seen])) - trained:
            raise DataError(
                f"{self.name}: {len(strange)} classes of test_seen have no image in trainval ({self.classes[min(strange)]!r}, ...)"
            )

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(C,) True for the classes that have images in trainval."""
        mask = np.zeros(len(self.classes), dtype=bool)
        mask[np.unique(self.labels[self.split.trainval])] = True
        return mask

    def fold(
        self, seed: int, part: int = 0, unseen_share: float | None = None, image_share: float = 0.2
    ) -> Dataset:
        """A validation dataset made inside trainval that imitates the test.

        Some seen classes (by default the share that unseen classes have of all) play the unseen ones, and
        `image_share` of each other class's trainval images play test_seen. The true unseen classes and both test
        sets are not in it, so nothing picked on it was picked on test data. Same seed and part, same fold; two parts of one seed
        hold out different classes. Raises DataError if there are too few seen classes for that many parts.
        """
        rng = np.random.default_rng(seed)
        old = np.flatnonzero(self.seen)
        share = 1 - len(old) / len(self.classes) if unseen_share is None else unseen_share
        count = min(max(round(share * len(old)), 1), len(old) - 1)
        if len(old) < 2:
            raise DataError(f"{self.name}: validation needs two seen classes or more")
        if (part + 1) * count > len(old):
            raise DataError(
                f"{self.name}: {part + 1} folds that hold out {count} of {len(old)} seen classes each would share some; "
                f"set protocol.folds to {len(old) // count} or less"
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
        split = Split(*(np.sort(np.concatenate(part)) for part in (train, val_seen, val_unseen)))
        return replace(
            self,
            classes=tuple(self.classes[k] for k in old),
            labels=labels,
            split=split,
            semantics=self.semantics.of(old),
            title=f"{self.title or self.name}, validation fold {seed}"
            + (f".{part}" if part else ""),
        )

    def without(self, index: Collection[int], images: Images | None = None) -> Dataset:
        """The dataset whose split does not hold the images at `index`; all others keep their numbers.

        images: takes the place of the dataset's own. Raises DataError if a part has no image left.
        """
        gone = np.array(sorted(index), dtype=np.int64)
        split = Split(*(part[~np.isin(part, gone)] for part in self.split.parts().values()))
        return replace(
            self, split=split, images=images or self.images, skipped=tuple(gone.tolist())
        )

    def fingerprints(self) -> dict[str, str]:
        """What makes two results comparable: `split` (labels and locs by class name) and `semantics`, 16 hex digits each."""
        split = hashlib.sha256("\n".join(self.classes).encode())
        split.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        for index in self.split.parts().values():
            split.update(b"|" + np.sort(index).astype("<i8").tobytes())
        return {"split": split.hexdigest()[:16], "semantics": self.semantics.fingerprint()}


class DatasetSource(ABC):
    """What an entry of `zslkit.datasets` points to: a class that builds a Dataset.

    The attributes below are written as literals, since `zslkit datasets` reads them from the source
    without importing it.
    """

    title: ClassVar[str] = ""
    """What tables call the dataset."""
    citation: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """The dataset's own `features` settings, below every preset."""
    published_as: ClassVar[str] = ""
    """The name under which published results may stand beside ours; empty if none is comparable."""
    downloads: ClassVar[Sequence[str | Mapping[str, Any]]] = ()
    """The archives that `zslkit data download` fetches for it, in order. Each is the name of one that several datasets
    share (zslkit/data/sources.yaml), `{"shared": name, "holds": [...]}` if only some of its files are needed, or one of its own:

        {"file": "birds.zip", "urls": ["https://example.org/birds.zip"], "sha256": "...", "size": 1200000, "licence": "CC BY 4.0",
         "folder": "birds", "holds": ["classes.csv"]}

    file: what the archive is called in the data root and on mirrors. urls: tried in order. folder: where its contents go below the
    root. holds: paths below `folder` that are there once it is unpacked; whatever folders the archive wraps around them are dropped.
    Optional: only (take only these folders), size (bytes, about), licence, md5, sha256 (without one the first download records it)."""
    counts: ClassVar[Mapping[str, int]] = {}
    """Known facts to check what is read against: images, attributes, seen, unseen, trainval, test_seen, test_unseen."""

    def looks_for(self, root: Path) -> Mapping[str, tuple[Path, ...]]:
        """What the dataset is made of ("photos") -> the places where it is looked for, of which the first that exists is used.

        For `zslkit data info` and `zslkit doctor`; reads nothing. A dataset that needs no file says nothing here.
        """
        return {}

    @abstractmethod
    def load(self, name: str, root: Path) -> Dataset:
        """Read the dataset below `root` (the folder of --data-root).

        Raises DataError with the path that is missing or wrong.
        """

    def attribute_names(self, name: str, root: Path) -> tuple[str, ...]:
        """The attributes' names, as `load` gives them; a source that knows them without its images says so here."""
        return self.load(name, root).semantics.names

    def attribute_words(self, root: Path) -> Mapping[str, str]:
        """Attribute name -> plain words, for names that are no words as they are written; word vectors are made of those."""
        return {}

    def word_vector_files(self, root: Path) -> tuple[Path, ...]:
        """Where word vectors of the attributes are looked for, first found wins; empty if nowhere."""
        return ()
