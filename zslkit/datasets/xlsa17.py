"""Benchmarks with the proposed splits of Xian et al. 2018: CUB, SUN, AWA2, AWA1, aPY, FLO."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zslkit.dataset import Dataset, DatasetSource
from zslkit.datasets.attribute_names import AttributeCard, read_names, shipped_card
from zslkit.datasets.xlsa17_cache import Pooled, open_features
from zslkit.datasets.xlsa17_join import anchored, class_ids
from zslkit.datasets.xlsa17_mat import SplitFile, read_split_file
from zslkit.errors import DataError
from zslkit.readers.images import FileImages
from zslkit.readers.word_vectors import read_word_vectors
from zslkit.semantics import Semantics


class Xlsa17(DatasetSource):
    """Base class of the benchmarks, whose files are laid out as published.

    `xlsa17/data/<folder>/{att_splits,res101}.mat` lie below the data root, photos in a folder of
    their own. Pooled features come from res101.mat, converted once into the cache; with photos
    present, the Dataset has both. A subclass sets the class attributes.
    """

    folder: ClassVar[str] = ""
    """Folder in xlsa17/data."""
    splits: ClassVar[str] = "att_splits.mat"
    """File with classes, class-attribute table and split."""
    archive: ClassVar[str] = "xlsa17.zip"
    """Archive that contains this file, for errors."""
    features_from: ClassVar[str] = "xlsa17.zip"
    """Archive that contains res101.mat, for errors."""
    photos: ClassVar[str] = ""
    """Folder of the photos below the data root; "" for features only."""
    attribute_files: ClassVar[tuple[str, ...]] = ()
    """Stems of the files of attribute names and word vectors, in order of priority."""
    table: ClassVar[str] = "original_att"
    """Variable with the class-attribute table; negative entries ("unknown") become 0."""
    kind: ClassVar[str] = "attributes"
    """Kind of the semantics, as in Semantics."""
    nameless: ClassVar[str] = "class"
    """Word for a class where att_splits.mat has no names: "class 1", "class 2", ..."""
    defaults: ClassVar[Mapping[str, Any]] = {"backbone": "resnet101.tv_in1k", "size": 224}

    def looks_for(self, root: Path) -> Mapping[str, tuple[Path, ...]]:
        home = root / "xlsa17" / "data" / self.folder
        places: dict[str, tuple[Path, ...]] = {"split": (home / self.splits,)}
        places["features"] = (home / "res101.mat",)
        if self.photos:
            places["photos"] = (root / self.photos,)
        if self.attribute_files:
            places["attribute names"] = self._name_files(root)
            places["word vectors"] = self.word_vector_files(root)
        return {what: tuple(dict.fromkeys(paths)) for what, paths in places.items()}

    def _name_files(self, root: Path) -> tuple[Path, ...]:
        names = [n + end for n in self.attribute_files for end in (".txt", ".csv")]
        return tuple(home / n for n in names for home in self._homes(root, "attribute_names"))

    def load(self, name: str, root: Path) -> Dataset:
        root = need_root(name, root)
        splits = self.read_splits(name, root)
        file = f"xlsa17/data/{self.folder}/res101.mat"
        read = open_features(need_file(name, root, file, self.features_from))
        numbers = range(1, len(splits.attributes) + 1)
        classes = splits.classes or tuple(f"{self.nameless} {k}" for k in numbers)
        self._check_fit(name, splits, read)
        paths = [anchored(file) for file in read.files]
        dataset = Dataset(
            name=name,
            classes=classes,
            labels=class_ids(name, classes, read.labels, paths),
            split=splits.split,
            semantics=self.semantics(name, root, splits.attributes),
            images=self._images(name, root, paths),
            features=read.features,
            features_digest=read.fingerprint,
            origin=f"res101.mat of xlsa17, sha256 {read.sha256[:16]}",
            title=self.title,
            defaults=self.defaults,
        )
        self._check_facts(dataset)
        return dataset

    def read_splits(self, name: str, root: Path) -> SplitFile:
        """Read the split file below the data root."""
        file = need_file(name, root, f"xlsa17/data/{self.folder}/{self.splits}", self.archive)
        return read_split_file(file, self.table)

    def semantics(self, name: str, root: Path, attributes: NDArray[np.float32]) -> Semantics:
        """Semantics of a class-attribute table: names, groups and word vectors of its columns.

        Args:
            attributes: (C, A) class-attribute table.

        Raises:
            DataError: The number of attribute names is not A, or a file below the root is damaged.
        """
        width = attributes.shape[1]
        card = self.card(root, width)
        if len(card.names) != width:
            raise DataError(
                f"{name}: there are {len(card.names)} attribute names for {width} attributes in "
                f"{self.splits}; mend attribute_names"
            )
        words = next((file for file in self.word_vector_files(root) if file.is_file()), None)
        return Semantics(
            attributes=np.maximum(attributes, 0) if self.kind == "attributes" else attributes,
            names=card.names,
            groups=card.groups,
            word_vectors=None if words is None else read_word_vectors(words, card.names),
            kind=self.kind,
        )

    def word_vector_files(self, root: Path) -> tuple[Path, ...]:
        # The user's .npy of `zslkit data words` goes before the published .pkl.
        ends = [f"{n}_attribute{end}" for n in self.attribute_files for end in (".npy", ".pkl")]
        return tuple(home / end for end in ends for home in self._homes(root, "w2v"))

    def attribute_names(self, name: str, root: Path) -> tuple[str, ...]:
        if self.kind != "attributes":
            raise DataError(
                f"{name}: its classes are described by {self.kind}, whose columns have no names "
                "in words"
            )
        names = self.card(root, 0).names
        if not names:
            home = root / "attribute_names" / f"{self.attribute_files[0]}.txt"
            raise DataError(
                f"{name}: its attributes have no names here; write them to {home}, one a line, in "
                "the table's order"
            )
        return names

    def attribute_words(self, root: Path) -> Mapping[str, str]:
        return self.card(root, 0).words

    def card(self, root: Path, width: int) -> AttributeCard:
        """Attribute names and groups.

        Names come from a file below the data root, else from the shipped card, else they are
        numbers; groups come from the shipped card.
        """
        shipped = next(filter(None, map(shipped_card, self.attribute_files)), None)
        if own := next((file for file in self._name_files(root) if file.is_file()), None):
            return replace(shipped or AttributeCard((), {}), names=read_names(own))
        word = self.kind.removesuffix("s")
        return shipped or AttributeCard(tuple(f"{word} {k + 1}" for k in range(width)), {})

    @staticmethod
    def _homes(root: Path, folder: str) -> list[Path]:
        # xlsa17 may be a link into a shared data folder that also holds the other folders.
        return [root / folder, (root / "xlsa17").resolve().parent / folder]

    def _images(self, name: str, root: Path, paths: Sequence[str | None]) -> FileImages | None:
        home = root / self.photos
        if not self.photos or not home.is_dir():
            return None
        have = {
            Path(folder, f).relative_to(home).as_posix()
            for folder, _, files in os.walk(home)
            for f in files
        }
        missing = [path or "a path without /images/" for path in paths if path not in have]
        if missing:
            raise DataError(
                f"{name}: {len(missing)} of {len(paths)} images that res101.mat lists are not "
                f"below {home} ({missing[0]!r}, ...); unpack the photos again, or move {home} "
                "away to use features only"
            )
        return FileImages(home, [path for path in paths if path is not None])

    def _check_fit(self, name: str, splits: SplitFile, read: Pooled) -> None:
        last = max(int(part.max()) for part in splits.split.parts().values())
        if last >= len(read.labels):
            raise DataError(
                f"{name}: {self.splits} speaks of image {last + 1} and res101.mat has "
                f"{len(read.labels)}; take both from one xlsa17.zip"
            )
        if read.labels.max() >= len(splits.attributes):
            raise DataError(
                f"{name}: res101.mat has a label {read.labels.max() + 1} and {self.splits} "
                f"{len(splits.attributes)} classes; take both from one xlsa17.zip"
            )

    def _check_facts(self, dataset: Dataset) -> None:
        seen = int(dataset.seen.sum())
        found = {
            "images": len(dataset.labels),
            "attributes": dataset.semantics.attributes.shape[1],
            "seen": seen,
            "unseen": len(dataset.classes) - seen,
            **{part: len(index) for part, index in dataset.split.parts().items()},
        }
        for fact, count in self.counts.items():
            if found[fact] != count:
                raise DataError(
                    f"{dataset.name}: {fact} counts {found[fact]} here and {count} in "
                    f"{self.title}; take {self.splits} and res101.mat of "
                    f"xlsa17/data/{self.folder} from one {self.archive}"
                )


def need_root(name: str, root: Path) -> Path:
    """The data root as a path; raises DataError if there is no such folder."""
    root = Path(root)
    if not root.is_dir():
        raise DataError(
            f"{name}: there is no folder {root} (--data-root); name the folder that holds the "
            "datasets"
        )
    return root


def need_file(name: str, root: Path, path: str, source: str) -> Path:
    """Path of a file below the data root; DataError names its place, and the archive it is in."""
    if not (root / path).is_file():
        raise DataError(
            f"{name}: {path} is missing below {root} (--data-root); it comes with {source}, put "
            f"it at {root / path}"
        )
    return root / path


class CUB(Xlsa17):
    """CUB-200-2011, birds."""

    title = "CUB"
    citation = (
        "Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011; split: Xian et al., TPAMI 2018"
    )
    licence = "photos for non-commercial research and education only"
    defaults: ClassVar[Mapping[str, Any]] = {"backbone": "resnet101.tv_in1k", "size": 448}
    published_as = "cub"
    downloads: ClassVar[Sequence[str | Mapping[str, Any]]] = (
        "cub_photos",
        {"shared": "xlsa17", "holds": ["CUB/att_splits.mat", "CUB/res101.mat"]},
    )
    folder = "CUB"
    photos = "CUB/CUB_200_2011/images"
    attribute_files: ClassVar[tuple[str, ...]] = ("CUB",)
    counts: ClassVar[Mapping[str, int]] = {
        "images": 11788, "attributes": 312, "seen": 150, "unseen": 50,
        "trainval": 7057, "test_seen": 1764, "test_unseen": 2967,
    }  # fmt: skip


class CUBSentences(CUB):
    """CUB-200-2011 with sentence embeddings instead of attributes.

    Same images and split as CUB, but a different task.
    """

    title = "CUB, sentences"
    citation = (
        "Wah et al. 2011; sentences: Reed et al., Learning Deep Representations of Fine-Grained "
        "Visual Descriptions, CVPR 2016"
    )
    published_as = ""
    downloads: ClassVar[Sequence[str | Mapping[str, Any]]] = (
        "cub_photos",
        {"shared": "xlsa17", "holds": ["CUB/res101.mat"]},
        {"shared": "cvpr18xian", "holds": ["CUB/sent_splits.mat"]},
    )
    splits = "sent_splits.mat"
    archive = "cvpr18xian.zip"
    attribute_files = ()
    table = "att"
    kind = "sentences"
    counts: ClassVar[Mapping[str, int]] = {**CUB.counts, "attributes": 1024}


class SUN(Xlsa17):
    """SUN Attributes, scenes."""

    title = "SUN"
    citation = (
        "Patterson and Hays, SUN Attribute Database, CVPR 2012; split: Xian et al., TPAMI 2018"
    )
    licence = "photos for research use"
    defaults: ClassVar[Mapping[str, Any]] = {"backbone": "resnet101.tv_in1k", "size": 448}
    published_as = "sun"
    downloads = (
        "sun_photos",
        {"shared": "xlsa17", "holds": ["SUN/att_splits.mat", "SUN/res101.mat"]},
    )
    folder = "SUN"
    photos = "SUN/images"
    attribute_files = ("SUN",)
    counts: ClassVar[Mapping[str, int]] = {
        "images": 14340, "attributes": 102, "seen": 645, "unseen": 72,
        "trainval": 10320, "test_seen": 2580, "test_unseen": 1440,
    }  # fmt: skip


class AWA2(Xlsa17):
    """Animals with Attributes 2."""

    title = "AWA2"
    citation = (
        "Xian et al., Zero-Shot Learning - A Comprehensive Evaluation of the Good, the Bad and "
        "the Ugly, TPAMI 2018"
    )
    licence = "photos under free licences, listed with the dataset"
    published_as = "awa2"
    downloads = (
        "awa2_photos",
        {"shared": "xlsa17", "holds": ["AWA2/att_splits.mat", "AWA2/res101.mat"]},
    )
    folder = "AWA2"
    photos = "AWA2/Animals_with_Attributes2/JPEGImages"
    attribute_files = ("AWA2",)
    counts: ClassVar[Mapping[str, int]] = {
        "images": 37322, "attributes": 85, "seen": 40, "unseen": 10,
        "trainval": 23527, "test_seen": 5882, "test_unseen": 7913,
    }  # fmt: skip


class AWA1(Xlsa17):
    """Animals with Attributes; features only, since its photos are not public."""

    title = "AWA1"
    citation = (
        "Lampert et al., Learning to Detect Unseen Object Classes, CVPR 2009; split: Xian et al., "
        "TPAMI 2018"
    )
    licence = "features only; the photos are not public"
    published_as = "awa1"
    downloads = ({"shared": "xlsa17", "holds": ["AWA1/att_splits.mat", "AWA1/res101.mat"]},)
    folder = "AWA1"
    attribute_files = ("AWA1", "AWA2")
    counts: ClassVar[Mapping[str, int]] = {
        "images": 30475, "attributes": 85, "seen": 40, "unseen": 10,
        "trainval": 19832, "test_seen": 4958, "test_unseen": 5685,
    }  # fmt: skip


class APY(Xlsa17):
    """Attribute Pascal and Yahoo: features of cropped objects only."""

    title = "aPY"
    citation = (
        "Farhadi et al., Describing Objects by their Attributes, CVPR 2009; split: Xian et al., "
        "TPAMI 2018"
    )
    licence = "features only"
    published_as = "apy"
    downloads = ({"shared": "xlsa17", "holds": ["APY/att_splits.mat", "APY/res101.mat"]},)
    folder = "APY"
    attribute_files = ("APY",)
    counts: ClassVar[Mapping[str, int]] = {
        "images": 15339, "attributes": 64, "seen": 20, "unseen": 12,
        "trainval": 5932, "test_seen": 1483, "test_unseen": 7924,
    }  # fmt: skip


class FLO(Xlsa17):
    """Oxford Flowers with sentence embeddings instead of attributes."""

    title = "FLO"
    citation = (
        "Nilsback and Zisserman, Automated Flower Classification, ICVGIP 2008; sentences: Reed et "
        "al., CVPR 2016; split: Xian et al. 2018"
    )
    licence = "features only"
    published_as = "flo"
    downloads = ("cvpr18xian",)
    folder = "FLO"
    archive = "cvpr18xian.zip"
    features_from = "cvpr18xian.zip"
    table = "att"
    kind = "sentences"
    nameless = "flower"
    counts: ClassVar[Mapping[str, int]] = {
        "images": 8189, "attributes": 1024, "seen": 82, "unseen": 20,
        "trainval": 5631, "test_seen": 1403, "test_unseen": 1155,
    }  # fmt: skip
