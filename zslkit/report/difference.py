"""Compares two finished runs: different settings, code and data, and different answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.config.merge import flat
from zslkit.dataset import Dataset
from zslkit.errors import DataError
from zslkit.evaluation.bootstrap import resample
from zslkit.evaluation.outcomes import SAMPLED, Outcomes, outcomes, same_images, together
from zslkit.evaluation.sets import AnsweredSets
from zslkit.evaluation.significance import Difference, McNemar, mcnemar, paired_difference
from zslkit.features.store import images_digest
from zslkit.record import RunRecord
from zslkit.report.significance import run_sets
from zslkit.runs.folders import Run

RESAMPLES = 2000


@dataclass(frozen=True)
class Flip:
    """Image at `index` of a test set with different answers in A and B; `key` names it if known."""

    part: str
    index: int
    label: str
    a: str
    b: str
    key: str = ""

    @property
    def outcome(self) -> str:
        """ "won" (only B is right), "lost" (only A is right) or "wrong in both"."""
        if self.b == self.label:
            return "won"
        return "lost" if self.a == self.label else "wrong in both"


@dataclass(frozen=True)
class RunOutcome:
    """B minus A on the same test images: T1, U, S and H, and McNemar's test on unseen images.

    `per_class` is in percent points, largest first; `flips` are images with different answers.
    """

    figures: Mapping[str, Difference]
    images: McNemar
    per_class: tuple[tuple[str, float], ...]
    flips: tuple[Flip, ...]


def causes(a: RunRecord, b: RunRecord) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> values in A and B, where model, seed, settings, code, data, ... differ."""
    left, right = _stated(a), _stated(b)
    return {
        key: (left.get(key), right.get(key))
        for key in [*left, *(k for k in right if k not in left)]
        if left.get(key) != right.get(key)
    }


def _stated(record: RunRecord) -> dict[str, Any]:
    raw = record.model_dump(mode="json")
    # The fingerprint of features is in "data" already.
    features = {k: v for k, v in raw["features"].items() if k != "fingerprint"}
    parts = {
        "model": {k: v for k, v in raw["model"].items() if k != "citation"},
        "seed": raw["seed"],
        "config": raw["config"],
        "protocol": {k: v for k, v in raw["protocol"].items() if k != "validation"},
        "dataset": raw["dataset"],
        "features": features,
        "data": raw["fingerprints"],
        "environment": raw["environment"],
        "git": raw["git"] or {},
        "elsewhere": raw["elsewhere"],
    }
    return flat(parts)


def outcome(a: Run, b: Run, dataset: Dataset | None = None) -> RunOutcome:
    """Compare the answers of B with those of A; names of images come from their `dataset`.

    Raises:
        DataError: Scores cannot be read, or the runs have different test images.
    """
    left_data, right_data = a.record.fingerprints, b.record.fingerprints
    if left_data.split != right_data.split:
        raise DataError(
            f"{a.folder} and {b.folder} were made on different splits ({left_data.split[:8]}, "
            f"{right_data.split[:8]}), so their images cannot be paired"
        )
    if left_data.images and right_data.images and left_data.images != right_data.images:
        raise DataError(
            f"{a.folder} and {b.folder} have one split and were made on other images "
            f"({left_data.images[:8]}, "
            f"{right_data.images[:8]}), so those cannot be paired"
        )
    (sets_a, classes), (sets_b, other_classes) = run_sets(a), run_sets(b)
    left = outcomes(sets_a, a.record.protocol.gamma)
    right = outcomes(sets_b, b.record.protocol.gamma)
    if not same_images(left, right) or classes != other_classes:
        raise DataError(
            f"{a.folder} and {b.folder} say one split and hold other labels or classes; move the "
            "damaged one away"
        )
    both: Outcomes = together([left, right])
    resampled = resample(both, RESAMPLES)
    changes = _per_class(a.record, b.record)
    return RunOutcome(
        figures={name: paired_difference(resampled, [1], [0], name) for name in SAMPLED},
        images=mcnemar(both.T1[:, 1:], both.T1[:, :1]),
        per_class=tuple(sorted(changes.items(), key=lambda item: (-abs(item[1]), item[0]))),
        flips=tuple(_flips((a, b), (sets_a, sets_b), classes, dataset)),
    )


def _per_class(a: RunRecord, b: RunRecord) -> dict[str, float]:
    pairs = {name: (value, b.per_class.get(name)) for name, value in a.per_class.items()}
    return {name: y - x for name, (x, y) in pairs.items() if x is not None and y is not None}


def _flips(
    runs: tuple[Run, Run],
    sets: tuple[AnsweredSets, AnsweredSets],
    classes: Sequence[str],
    dataset: Dataset | None,
) -> list[Flip]:
    found = []
    for part in ("test_seen", "test_unseen"):
        answers = [
            s.parts()[part].seen_unseen_margin.answers(run.record.protocol.gamma)
            for s, run in zip(sets, runs, strict=True)
        ]
        labels = sets[0].parts()[part].labels
        for i in np.flatnonzero(answers[0] != answers[1]).tolist():
            named = (classes[labels[i]], classes[answers[0][i]], classes[answers[1][i]])
            images = dataset.images if dataset is not None else None
            key = images.key(image_of(dataset, part, i)) if dataset and images is not None else ""
            found.append(Flip(part, i, *named, key))
    return found


def image_of(dataset: Dataset, part: str, index: int) -> int:
    """Index in the dataset of an image of a test set."""
    return int(dataset.split.parts()[part][index])


def dataset_of(run: Run, root: Path) -> Dataset:
    """Dataset of the run with its images, from `root` or the card that `root` names.

    Raises:
        UserError: It cannot be opened.
        DataError: Its split or images are not those of the run.
    """
    from zslkit.datasets.catalog import load_dataset
    from zslkit.registry import is_card

    dataset = load_dataset(str(root) if is_card(str(root)) else run.record.dataset.name, root)
    then = run.record.fingerprints
    other = ""
    if dataset.fingerprints()["split"] != then.split:
        other = "another split"
    elif dataset.images is not None and then.images and run.record.features.size:
        other = "other images" if images_digest(dataset.images) != then.images else ""
    if other:
        raise DataError(
            f"{dataset.name} below {root} has {other} than the run {run.folder}; give the "
            "--data-root of that time"
        )
    return dataset
