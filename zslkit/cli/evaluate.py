"""`zslkit evaluate`: metrics of finished runs from the scores they kept, without any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.chosen_runs import named_runs
from zslkit.cli.failure import tell
from zslkit.cli.numbers import AnyReal
from zslkit.cli.options import flag, runs_option
from zslkit.cli.output import echo, print_columns, print_json, printable
from zslkit.cli.present import FIGURES
from zslkit.cli.verb import verb

if TYPE_CHECKING:
    from zslkit.evaluation.catalog import Metric, Subject
    from zslkit.report.badges import Badges
    from zslkit.runs.folders import Run

TABLE = "confusion"
"""The metric that grows with the square of the classes: JSON holds it only by its own name."""
ROWS = 11
"""Points of a curve and lines of a table that are shown; --json holds all."""


@verb(example="zslkit evaluate runs/digits/eszsl/seed0-*/ --metrics H,AUSUC,top-5")
@click.argument(
    "words", metavar="RUN...", nargs=-1, required=True, shell_complete=completers.runs_and_tags
)
@runs_option
@click.option(
    "--gamma",
    type=AnyReal(),
    help="Add this to the scores of unseen classes (calibrated stacking); default: what the run's "
    "validation picked, or 0.",
)
@click.option(
    "--metrics",
    metavar="NAME,...",
    shell_complete=completers.metrics,
    help="Metrics to show; default: T1, U, S, H and AUSUC. all: every metric, with its name and "
    "meaning; top-K: right within the K likeliest classes; confusion: the confusion table, which "
    "--json shows only by this name.",
)
@flag("--per-class", "Show the accuracy of every class too; needs --json.")
def evaluate(
    words: tuple[str, ...],
    home: Path,
    gamma: float | None,
    metrics: str | None,
    per_class: bool,
    as_json: bool,
) -> None:
    """Compute metrics of each finished run RUN from its stored scores. Nothing is trained.

    A RUN is a run folder, a folder of such, a pattern in quotes, a tag, or a file of zslkit runs
    --export. Leave --gamma away for a result: a value of your own was not picked on validation, and
    the table says so.
    """
    from zslkit.evaluation.catalog import METRICS, chosen
    from zslkit.report.comparability import Comparability, differing

    if per_class and not as_json:
        raise click.UsageError("--per-class goes with --json")
    names = [] if metrics is None else metrics.split(",")
    wanted = chosen(names) if metrics is not None else [m for m in METRICS.values() if not m.large]
    if as_json and TABLE not in (name.strip().lower() for name in names):
        wanted = [metric for metric in wanted if metric.name != TABLE]
    measured = [Measured.of(run, gamma) for run in named_runs(words, home)]
    # Runs of several datasets by dataset.
    apart = differing([Comparability.of(one.run.record) for one in measured])
    for sentence in apart:
        tell(sentence)
    if as_json:
        runs = [_data(one, wanted, per_class) for one in measured]
        print_json({"runs": runs, "not_comparable": apart})
    elif metrics is not None:
        for k, one in enumerate(measured):
            record = one.run.record
            name = f"{record.model.name} on {record.dataset.name}, seed {record.seed}"
            echo("\n" * (k > 0) + printable(f"{name}, gamma {one.gamma}, {one.run.folder}"))
            echo(printable(f"made: {', '.join(one.made.every_word)}"))
            _print_metrics(one.subject, wanted)
    else:
        header = ("model", "dataset", "seed", *FIGURES, "gamma", "made", "run")
        print_columns(header, [_cells(one) for one in measured])


@dataclass(frozen=True)
class Measured:
    """A run and its metrics; own: under a gamma of the user's."""

    run: Run
    subject: Subject
    own: bool

    @classmethod
    def of(cls, run: Run, gamma: float | None) -> Measured:
        """gamma: the user's. Raises DataError."""
        from zslkit.evaluation.catalog import Subject
        from zslkit.report.significance import run_sets

        protocol, (sets, classes) = run.record.protocol, run_sets(run, check=gamma is None)
        validated = protocol.gamma if protocol.calibration == "validation" else None
        used = protocol.gamma if gamma is None else gamma
        subject = Subject(sets, used, validated, classes, run.attributes())
        return cls(run, subject, gamma is not None)

    @property
    def gamma(self) -> str:
        calibration = "given by hand" if self.own else self.run.record.protocol.calibration
        source = {"none": "not calibrated", "validation": "from validation"}
        return f"{self.subject.gamma:.3g} ({source.get(calibration, calibration)})"

    @property
    def made(self) -> Badges:
        """How the figures were made."""
        from zslkit.report.badges import BY_HAND, badges_of

        made = badges_of(self.run.record)
        return replace(made, calibration=BY_HAND) if self.own else made


def _cells(one: Measured) -> tuple[str, ...]:
    record, figures = one.run.record, one.subject.plain.figures()
    return (
        *(record.model.name, record.dataset.name, str(record.seed)),
        *(_figure(name, figures[name]) for name in FIGURES),
        *(one.gamma, ", ".join(one.made.every_word), str(one.run.folder)),
    )


def _print_metrics(subject: Subject, wanted: Sequence[Metric]) -> None:
    rows = []
    for metric in wanted:
        if not metric.large:
            lacking = metric.of_attributes and subject.attributes is None
            said = "not kept" if lacking else _figure(metric.name, metric.compute(subject))
            rows.append((metric.name, f"{said:>6}", metric.description))
    if rows:
        print_columns(("metric", "", "what it is"), rows)
    shows: dict[str, Callable[[Subject, Any], None]] = {
        "per-class": _print_classes,
        "confusion": _print_confusion,
        "curve": _print_curve,
    }
    for metric in wanted:
        if metric.large:
            echo(f"\n{metric.name}: {metric.description}")
            shows[metric.name](subject, metric.compute(subject))


def _print_classes(subject: Subject, accuracies: Mapping[str, float]) -> None:
    sides = ["seen" if seen else "unseen" for seen in subject.sets.seen.tolist()]
    rows = [
        (f"{_figure('', value):>5}", side, name)
        for side, (name, value) in zip(sides, accuracies.items(), strict=True)
    ]
    print_columns(("%", "side", "class"), rows)


def _print_confusion(subject: Subject, found: Mapping[str, Any]) -> None:
    import numpy as np

    from zslkit.evaluation.confusion import largest

    table = np.array(found["images"], dtype=np.int64)
    rows = [
        (f"{count:>6}", f"{subject.classes[true]} -> {subject.classes[answer]}")
        for true, answer, count in largest(table, ROWS)
    ]
    wrong = int(table.sum() - np.trace(table))
    about = f"true class -> answer, the most frequent of {wrong} wrong answers"
    print_columns(("images", about), rows)


def _print_curve(subject: Subject, points: Sequence[Mapping[str, float]]) -> None:
    steps = sorted({round(k * (len(points) - 1) / (ROWS - 1)) for k in range(ROWS)})
    rows = [
        (f"{p['above']:.4g}", f"{p['S']:5.1f}", f"{p['U']:5.1f}")
        for p in (points[k] for k in steps)
    ]
    print_columns(("gamma above", "S", "U"), rows)
    if len(steps) < len(points):
        echo(f"{len(steps)} of {len(points)} points; --json prints all")


def _figure(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if name == "AUSUC" else f"{value:.1f}"


def _data(one: Measured, wanted: Sequence[Metric], per_class: bool) -> dict[str, Any]:
    record, subject, plain = one.run.record, one.subject, one.subject.plain
    said: dict[str, Any] = {
        "model": record.model.name,
        "dataset": record.dataset.name,
        "seed": record.seed,
        "metrics": plain.figures(),
        "more": {
            metric.name: metric.compute(subject) for metric in wanted if metric.name not in FIGURES
        },
        "optimistic": [metric.name for metric in wanted if metric.optimistic],
        "attribute_scores": "not kept" if subject.attributes is None else "kept",
        "gamma": plain.gamma,
        "gamma_given_by_hand": one.own,
        "chance": plain.chance,
        "protocol": record.protocol.model_dump(mode="json"),
        "badges": one.made.as_data(),
        "elsewhere": record.elsewhere,
        "run_folder": str(one.run.folder),
    }
    if per_class:
        said["per_class"] = dict(zip(subject.classes, plain.per_class.tolist(), strict=True))
    return said
