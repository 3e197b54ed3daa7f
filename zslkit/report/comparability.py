"""What results must share to stand in one table, and in what those of one dataset differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zslkit.record import RunRecord
from zslkit.report.badges import resolution

TRANSDUCTIVE = "transductive"
SEEN_ALONE = "no test image in training"
"""What inductive and class-inductive training have in common."""


@dataclass(frozen=True)
class Comparability:
    """What two results must share to stand in one table.

    semantics: fingerprint of the class semantics, kind what they are ("attributes", "sentences").
    source: digest of the backbone's weights, or fingerprint of the features if the dataset brings its own.
    training: "transductive", or SEEN_ALONE for the others, which stand together unless they are asked to stand apart.
    images: fingerprint of the images' content, or of the features of a dataset without images; "" where
    an older record does not say it.
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
        """strict: inductive and class-inductive stand apart too."""
        features, training = record.features, record.protocol.training
        return cls(
            dataset=record.dataset.name,
            split=record.fingerprints.split,
            semantics=record.fingerprints.semantics,
            backbone=features.backbone,
            source=features.weights_digest or features.weights,
            tuned=features.tuned,
            resolution=resolution(features),
            kind=record.dataset.semantics,
            training=training if strict or training == TRANSDUCTIVE else SEEN_ALONE,
            images=record.fingerprints.images,
        )

    def described(self) -> dict[str, str]:
        """Each point by the name that titles and notes use."""
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
    """Each setting -> itself, or with the images of all others like it if it does not say its own.

    So runs of an older record stay in one table with newer ones, as long as those agree.
    """
    every = set(settings)
    images: dict[Comparability, set[str]] = {}
    for setting in every:
        images.setdefault(replace(setting, images=""), set()).add(setting.images)
    known = {
        bare: next(iter(named)) for bare, found in images.items() if len(named := found - {""}) == 1
    }
    return {
        setting: setting if setting.images else replace(setting, images=known.get(setting, ""))
        for setting in every
    }


def differing(settings: Sequence[Comparability]) -> list[str]:
    """A sentence for each dataset of which results stand here that must not be compared, with the points in which they differ."""
    said = []
    whole = settled(settings)
    settings = [whole[setting] for setting in settings]
    for dataset in dict.fromkeys(setting.dataset for setting in settings):
        own = [setting.described() for setting in settings if setting.dataset == dataset]
        points = {name: list(dict.fromkeys(point[name] for point in own)) for name in own[0]}
        if unlike := [
            f"{name} ({', '.join(values)})" for name, values in points.items() if len(values) > 1
        ]:
            said.append(
                f"Not all runs on {dataset} may be compared with each other: they differ in {'; '.join(unlike)}."
            )
    return said


def differences(setting: Comparability, settings: Sequence[Comparability]) -> list[str]:
    """In what this block differs from another of the same dataset: 'resolution: 448 px', ..."""
    own = setting.described()
    others = [s.described() for s in settings if s.dataset == setting.dataset and s != setting]
    return [
        f"{name}: {value}"
        for name, value in own.items()
        if any(other[name] != value for other in others)
    ]
