"""CUB-200-2010 photos (224 px), attributes and classes of CUB-200-2011; not comparable to CUB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from zslkit.dataset import Dataset, DatasetSource
from zslkit.datasets.photo_sets import hold_out
from zslkit.datasets.xlsa17 import CUB, need_file, need_root
from zslkit.errors import DataError
from zslkit.readers.images import FileImages
from zslkit.readers.photos import find_photos, folders_in
from zslkit.utils.files import lines_of, read_text


class CUB2010(DatasetSource):
    """Photos in `cub200_2010/images/<NNN.Class>/*.jpg`.

    Classes, attributes and unseen classes are those of CUB in `xlsa17/data/CUB`.
    """

    title = "CUB-200-2010, 224 px"
    citation = (
        "Welinder et al., Caltech-UCSD Birds 200, 2010; attributes: Wah et al. 2011; class split: "
        "Xian et al., TPAMI 2018"
    )
    licence = "photos for non-commercial research and education only"
    defaults: ClassVar[Mapping[str, Any]] = {"backbone": "tf_efficientnet_lite0", "size": None}
    published_as = ""
    counts: ClassVar[Mapping[str, int]] = {
        "images": 6033, "attributes": 312, "seen": 150, "unseen": 50,
        "trainval": 3616, "test_seen": 897, "test_unseen": 1520,
    }  # fmt: skip

    def looks_for(self, root: Path) -> Mapping[str, tuple[Path, ...]]:
        photos = (root / "cub200_2010" / "images",)
        unseen = (root / "xlsa17/data/CUB/testclasses.txt",)
        cub = CUB().looks_for(root)
        shared = {what: cub[what] for what in ("split", "attribute names", "word vectors")}
        return {"photos": photos, "unseen classes": unseen, **shared}

    def load(self, name: str, root: Path) -> Dataset:
        root = need_root(name, root)
        home = root / "cub200_2010" / "images"
        if not home.is_dir():
            raise DataError(
                f"{name}: there is no folder {home} (--data-root); put the photos there, one "
                "folder for each class"
            )
        cub = CUB()
        table = cub.read_splits(name, root)
        classes = table.classes or ()
        if unmatched := sorted(set(classes) ^ set(folders_in(home))):
            raise DataError(
                f"{name}: {len(unmatched)} classes stand only in att_splits.mat or only below "
                f"{home} ({', '.join(unmatched[:3])}); the folders are named as the classes of "
                "CUB, 001.Black_footed_Albatross to 200.Common_Yellowthroat"
            )
        found = find_photos(home, classes)
        if empty := [folder for folder in classes if not found.of(folder)]:
            raise DataError(
                f"{name}: {len(empty)} class folders below {home} hold no photo "
                f"({', '.join(empty[:3])}); unpack the photos again"
            )
        unseen = self._unseen(name, root, classes)
        number = {c: k for k, c in enumerate(classes)}
        labels = np.array([number[path.partition("/")[0]] for path in found.paths], dtype=np.int64)
        return Dataset(
            name=name,
            classes=classes,
            labels=labels,
            split=hold_out(labels, sorted(set(range(len(classes))) - unseen), sorted(unseen)),
            semantics=cub.semantics(name, root, table.attributes),
            images=FileImages(home, found.paths),
            title=self.title,
            defaults=self.defaults,
            notes=(note,) if (note := found.note()) else (),
        )

    def attribute_names(self, name: str, root: Path) -> tuple[str, ...]:
        return CUB().attribute_names(name, root)

    def attribute_words(self, root: Path) -> Mapping[str, str]:
        return CUB().attribute_words(root)

    def word_vector_files(self, root: Path) -> tuple[Path, ...]:
        return CUB().word_vector_files(root)

    def _unseen(self, name: str, root: Path, classes: tuple[str, ...]) -> set[int]:
        """Class ids of the unseen classes."""
        file = need_file(name, root, "xlsa17/data/CUB/testclasses.txt", "xlsa17.zip")
        unseen = lines_of(read_text(file, f"{name}: {file}", "fetch it again"))
        if unknown := sorted(set(unseen) - set(classes)):
            raise DataError(
                f"{name}: {file} names {len(unknown)} classes that att_splits.mat has not "
                f"({unknown[0]!r}, ...); take both from one xlsa17.zip"
            )
        return {classes.index(c) for c in unseen}
