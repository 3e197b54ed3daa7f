"""The catalog of metrics: every metric of `zslkit evaluate --metrics`, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zslkit.errors import UnknownName, UserError
from zslkit.evaluation.attributes import AttributeAccuracy, AttributeScores, attribute_accuracy
from zslkit.evaluation.confidence import expected_calibration_error
from zslkit.evaluation.confusion import confusion_table, crossings
from zslkit.evaluation.gzsl import Metrics, measure, peak
from zslkit.evaluation.metrics import Curve, Index
from zslkit.evaluation.ranking import all_ranks, mean_rank, top_k
from zslkit.evaluation.sets import TestSets


@dataclass(frozen=True)
class Subject:
    """The scores to measure, under a gamma.

    `validated` is the gamma selected on validation, None if none was; `attributes`, the model's
    attribute scores.
    """

    sets: TestSets
    gamma: float
    validated: float | None
    classes: tuple[str, ...]
    attributes: AttributeScores | None = None

    @cached_property
    def plain(self) -> Metrics:
        """The metrics of the protocol under gamma."""
        return measure(self.sets, self.gamma)

    @cached_property
    def curve(self) -> Curve:
        """S and U under all gammas."""
        return self.sets.curve()

    @cached_property
    def calibration_error(self) -> dict[str, float]:
        """Expected calibration error in percent, by set and of both."""
        return expected_calibration_error(self.sets, self.gamma)

    @cached_property
    def ranked(self) -> dict[str, Index]:
        """Rank (N,) of each image's true class, by test set."""
        return all_ranks(self.sets, self.gamma)

    @cached_property
    def attribute_accuracies(self) -> dict[str, AttributeAccuracy | None]:
        """Accuracy of the attribute scores by test set; empty without scores."""
        return {} if self.attributes is None else attribute_accuracy(self.attributes, self.sets)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        compute: Returns a number, or None if there is nothing to measure; large metrics return
            JSON lists and tables.
        large: Too long for one line.
        optimistic: Selected on test, so never a result.
        of_attributes: Needs attribute scores.
    """

    name: str
    description: str
    compute: Callable[[Subject], Any]
    large: bool = False
    optimistic: bool = False
    of_attributes: bool = False


def _plain(name: str) -> Callable[[Subject], float]:
    return lambda s: s.plain.figures()[name]


def _confusion(subject: Subject) -> dict[str, Any]:
    table = confusion_table(subject.sets, subject.gamma).tolist()
    return {"classes": list(subject.classes), "images": table}


def _of_both(
    name: str, meaning: str, found: Callable[[Subject], Mapping[str, Any]], **marks: bool
) -> list[Metric]:
    """One metric of each test set, among what is `found` by set."""

    def of(part: str) -> Callable[[Subject], Any]:
        return lambda subject: found(subject).get(part)

    return [
        Metric(f"{name}-{side}", f"{side}: {meaning}", of(f"test_{side}"), **marks)
        for side in ("seen", "unseen")
    ]


def _top(k: int) -> list[Metric]:
    meaning = f"true class among the {k} highest of all classes, %, mean over classes"
    return _of_both(
        f"top-{k}", meaning, lambda s: top_k(s.sets, k, s.ranked) if k <= s.sets.n_classes else {}
    )


def _attributes(what: str, measured: str) -> list[Metric]:
    def found(subject: Subject) -> dict[str, float]:
        known = {k: v for k, v in subject.attribute_accuracies.items() if v is not None}
        return {part: getattr(accuracy, what.lower()) for part, accuracy in known.items()}

    meaning = f"{measured} of its attribute scores, %, mean over attributes"
    return _of_both(f"attribute-{what}", meaning, found, of_attributes=True)


_LIST: tuple[Metric, ...] = (
    Metric("T1", "unseen classes among themselves, %, mean over classes", _plain("T1")),
    Metric("U", "unseen classes among all, %, mean over classes", _plain("U")),
    Metric("S", "seen classes among all, %, mean over classes", _plain("S")),
    Metric("H", "harmonic mean of U and S, %", _plain("H")),
    Metric("AUSUC", "area under the curve of S over U, 0 to 1", _plain("AUSUC")),
    Metric("H-none", "H without calibration, %", lambda s: measure(s.sets, 0.0).H),
    Metric(
        "H-validation",
        "H under the gamma that validation picked, %",
        lambda s: None if s.validated is None else measure(s.sets, s.validated).H,
    ),
    Metric(
        "H-oracle",
        "H under the best gamma on the test sets, %: optimistic, no result",
        lambda s: peak(s.curve)[1],
        optimistic=True,
    ),
    Metric(
        "seen-as-unseen",
        "images of seen classes answered with an unseen one, % of images",
        lambda s: crossings(s.sets, s.gamma)["seen_as_unseen"],
    ),
    Metric(
        "unseen-as-seen",
        "images of unseen classes answered with a seen one, % of images",
        lambda s: crossings(s.sets, s.gamma)["unseen_as_seen"],
    ),
    Metric(
        "ECE", "expected calibration error of both sets, %", lambda s: s.calibration_error["both"]
    ),
    Metric("ECE-seen", "the same of test_seen", lambda s: s.calibration_error["test_seen"]),
    Metric("ECE-unseen", "the same of test_unseen", lambda s: s.calibration_error["test_unseen"]),
    *_of_both(
        "rank",
        "mean rank of the true class among all, mean over classes",
        lambda s: mean_rank(s.sets, s.ranked),
    ),
    *_top(5),
    *_attributes("AUC", "area under the ROC curve (chance: 50)"),
    *_attributes("AP", "average precision"),
    Metric(
        "per-class",
        "accuracy of each class among all, %",
        lambda s: dict(zip(s.classes, s.plain.per_class.tolist(), strict=True)),
        large=True,
    ),
    Metric("confusion", "images by true class (row) and answer (column)", _confusion, large=True),
    Metric(
        "curve", "S and U in percent from each gamma on", lambda s: s.curve.points(), large=True
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _LIST}
"""Metrics by name; top-K-seen and top-K-unseen exist for every other K too."""


def chosen(names: Sequence[str]) -> list[Metric]:
    """The metrics of these names in any case, each once; "all" is every metric, "top-K" both sets.

    Raises:
        UnknownName: No such metric exists; suggests one.
        UserError: No name is given.
    """
    found: dict[str, Metric] = {}
    known = {name.lower(): metric for name, metric in METRICS.items()}
    for name in names:
        low = name.strip().lower()
        if low == "all":
            found |= METRICS
        elif low in known:
            found[known[low].name] = known[low]
        elif match := re.fullmatch(r"top-([1-9]\d{0,5})(-seen|-unseen)?", low):
            found |= {m.name: m for m in _top(int(match[1])) if m.name.endswith(match[2] or "seen")}
        else:
            raise UnknownName("metric", name.strip(), [*METRICS, "all"])
    if not found:
        raise UserError(f"No metric is named; name some of {', '.join(METRICS)}, or all")
    return list(found.values())
