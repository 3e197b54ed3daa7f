"""Decides which results are comparable, and names what differs between those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zslkit.record import RunRecord
from zslkit.report.badges import OF_TEST, from_test_photos, resolution

TRANSDUCTIVE = "transductive"
SEEN_ALONE = "no test image in training"
"""Protocol of inductive and class-inductive training together."""


@dataclass(frozen=True)
class Comparability:
    """Properties that two results must share to stand in one table.

    Attributes:
        split: Fingerprint of the split, as `semantics` of the class semantics.
        source: Digest of the backbone's weights, or fingerprint of features that come with the
            dataset.
        kind: "attributes" or "sentences", and whether they were made from test photos.
        training: "transductive", or SEEN_ALONE for other protocols unless they are to be separated.
        images: Fingerprint of the image content, or of the features of a dataset without images; ""
            in older records.
    """

    dataset: str
    split: str
    semantics: str
    backbone: str
    source: str
    tuned: bool
    resolution: str
    kind: str = "attributes"
    training: str = SEEN_ALONE
    images: str = ""

    @classmethod
    def of(cls, record: RunRecord, strict: bool = False) -> Comparability:
        """Properties of a run; `strict` separates inductive from class-inductive ones."""
        features, training = record.features, record.protocol.training
        return cls(
            dataset=record.dataset.name,
            split=record.fingerprints.split,
            semantics=record.fingerprints.semantics,
            backbone=features.backbone,
            source=features.weights_digest or features.weights,
            tuned=features.tuned,
            resolution=resolution(features),
            kind=record.dataset.semantics + OF_TEST * from_test_photos(record),
            training=training if strict or training == TRANSDUCTIVE else SEEN_ALONE,
            images=record.fingerprints.images,
        )

    def described(self) -> dict[str, str]:
        """Each property by its name in titles and notes."""
        return {
            "split": f"split {self.split[:8]}",
            "images": f"images {self.images[:8]}" if self.images else "images unknown",
            "semantics": f"{self.kind} {self.semantics[:8]}",
            "backbone": self.backbone,
            "weights": f"weights {self.source[:8]}",
            "backbone frozen or tuned": "tuned" if self.tuned else "frozen",
            "resolution": self.resolution,
            "protocol": self.training,
        }


def settled(settings: Iterable[Comparability]) -> dict[Comparability, Comparability]:
    """Given properties -> properties to group by: unknown images of older records are filled in.

    They are where all others alike agree, so that older runs stay in one table with newer ones.
    """
    every = set(settings)
    images: dict[Comparability, set[str]] = {}
    for setting in every:
        images.setdefault(replace(setting, images=""), set()).add(setting.images)
    named = {bare: found - {""} for bare, found in images.items()}
    known = {bare: next(iter(found)) for bare, found in named.items() if len(found) == 1}
    return {s: s if s.images else replace(s, images=known.get(s, "")) for s in every}


def differing(settings: Sequence[Comparability]) -> list[str]:
    """One sentence per dataset whose results are not all comparable, with what differs."""
    sentences = []
    whole = settled(settings)
    settings = [whole[setting] for setting in settings]
    for dataset in dict.fromkeys(setting.dataset for setting in settings):
        own = [setting.described() for setting in settings if setting.dataset == dataset]
        points = {name: list(dict.fromkeys(point[name] for point in own)) for name in own[0]}
        several = {name: values for name, values in points.items() if len(values) > 1}
        if unlike := [f"{name} ({', '.join(values)})" for name, values in several.items()]:
            sentences.append(
                f"Not all runs on {dataset} may be compared with each other: they differ in "
                f"{'; '.join(unlike)}."
            )
    return sentences


def differences(setting: Comparability, settings: Sequence[Comparability]) -> list[str]:
    """How a block differs from others of the same dataset: 'resolution: 448 px', ..."""
    own = setting.described()
    others = [s.described() for s in settings if s.dataset == setting.dataset and s != setting]
    return [
        f"{name}: {value}"
        for name, value in own.items()
        if any(other[name] != value for other in others)
    ]
