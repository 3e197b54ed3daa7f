"""A comparison as data: blocks of comparable rows, with means over seeds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zslkit.record import Figures
from zslkit.report.badges import Badges
from zslkit.report.comparability import Comparability
from zslkit.report.published import Published
from zslkit.report.sampling import Sampling

METRICS = tuple(Figures.model_fields)
"""T1, U, S, H, AUSUC; higher is better."""
COSTS = ("parameters", "train_seconds", "peak_memory_mb")
"""Lower is better."""
MARK = "†"
"""Behind the label of a row with settings other than those of preset and default."""


@dataclass(frozen=True)
class Stat:
    """Mean over n runs and sample standard deviation (n - 1), None for one run."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        return cls(
            statistics.fmean(values),
            statistics.stdev(values) if len(values) > 1 else None,
            len(values),
        )


@dataclass(frozen=True)
class Row:
    """Runs of one model with one configuration and protocol, over all seeds.

    Attributes:
        variant: Settings that differ from other rows of this model in the block.
        origin: Distribution and version.
        uncalibrated_H: H with gamma 0; equal to H without calibration.
        optimistic: Metric -> mean as selected on test.
        best: Columns in which no other row is better.
        folders: Run folders in the order of the seeds, where known.
        intervals: Metric -> 95 % interval over draws of the test images.
        changed: Setting that the user changed -> its value, and the one of preset or default
            (None if unknown).
    """

    model: str
    variant: str
    origin: str
    input: str
    seeds: tuple[int, ...]
    made: Badges
    metrics: Mapping[str, Stat]
    uncalibrated_H: Stat
    gamma: Stat
    costs: Mapping[str, Stat | None]
    optimistic: Mapping[str, Stat]
    best: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def label(self) -> str:
        return f"{self.model} ({self.variant})" if self.variant else self.model

    @property
    def marked(self) -> str:
        """The label for a cell of a table, with `MARK` if settings were changed."""
        return f"{self.label}{MARK if self.changed else ''}"

    @property
    def calibrated(self) -> bool:
        """Whether a constant is added to the scores of unseen classes."""
        return self.made.calibration != "none"

    @property
    def badges(self) -> tuple[str, ...]:
        """Badge texts without those that the whole block shares."""
        return self.made.words


@dataclass(frozen=True)
class PickedOnTest:
    """A row as selected on the test sets: not a result, and in no ranking or test.

    `metrics` and `gamma` are means, None if unknown; `added` is their difference to the row's own.
    """

    label: str
    made: Badges
    seeds: tuple[int, ...]
    metrics: Mapping[str, Stat | None]
    added: Mapping[str, float]
    gamma: Stat | None = None
    folders: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True)
class Block:
    """Comparable rows, and published rows to show beside them.

    Attributes:
        title: What the rows share, as `setting`.
        notes: Sentences below the table.
        chance: Metrics of random answers.
        sampling: Intervals and tests over draws of the test images; None if the scores were not
            read.
        on_test: Rows as selected on test, for a separate table; None if not requested.
    """

    title: str
    setting: Comparability
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    chance: Mapping[str, float]
    published: tuple[Published, ...]
    sampling: Sampling | None = None
    on_test: tuple[PickedOnTest, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Unambiguous name of each row: its label, with badges if another row has the same."""
        labels = Counter(row.label for row in self.rows)
        return tuple(
            f"{row.label} [{', '.join(row.badges)}]" if labels[row.label] > 1 else row.label
            for row in self.rows
        )

    @property
    def calibrated(self) -> bool:
        """Whether a row is calibrated, so that H with gamma 0 must be shown too."""
        return any(row.calibrated for row in self.rows)
