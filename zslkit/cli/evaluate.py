"""`zslkit evaluate`: metrics of finished runs from the scores they kept, without any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.failure import tell
from zslkit.cli.numbers import AnyReal
from zslkit.cli.options import PLACE, debug_option, json_option
from zslkit.cli.output import echo, print_columns, print_json, printable
from zslkit.cli.present import FIGURES
from zslkit.cli.verb import Verb

if TYPE_CHECKING:
    from zslkit.evaluation.catalog import Metric, Subject
    from zslkit.report.badges import Badges
    from zslkit.runs.folders import Run

TABLE = "confusion"
"""The metric that grows with the square of the classes: JSON holds it only by its own name."""
ROWS = 11
"""Points of a curve and lines of a table that are shown; --json holds all."""


@click.command(
    cls=Verb, example="zslkit evaluate runs/digits/eszsl/seed0-*/ --metrics H,AUSUC,top-5"
)
@click.argument(
    "folders",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=PLACE,
    shell_complete=completers.runs,
)
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
@click.option(
    "--per-class", is_flag=True, help="Show the accuracy of every class too; needs --json."
)
@json_option
@debug_option
def evaluate(
    folders: tuple[Path, ...],
    gamma: float | None,
    metrics: str | None,
    per_class: bool,
    as_json: bool,
) -> None:
    """Compute metrics of each finished run RUN from its stored scores. Nothing is trained.

    Leave --gamma away for a result: a value of your own was not picked on validation, and the
    table says so.
    """
    from zslkit.evaluation.catalog import METRICS, chosen

    if per_class and not as_json:
        raise click.UsageError("--per-class goes with --json")
    names = [] if metrics is None else metrics.split(",")
    wanted = chosen(names) if metrics is not None else [m for m in METRICS.values() if not m.large]
    if as_json and TABLE not in (name.strip().lower() for name in names):
        wanted = [metric for metric in wanted if metric.name != TABLE]
    measured = [_measured(folder, gamma) for folder in folders]
    apart = _tell_apart([run for run, _ in measured])
    if as_json:
        print_json(
            {
                "runs": [
                    _data(run, subject, wanted, gamma is not None, per_class)
                    for run, subject in measured
                ],
                "not_comparable": apart,
            }
        )
    elif metrics is not None:
        for k, (run, subject) in enumerate(measured):
            echo(
                "\n" * (k > 0)
                + printable(
                    f"{_name(run)}, gamma {_gamma(run, subject, gamma is not None)}, {run.folder}"
                )
            )
            echo(printable(f"made: {', '.join(_made(run, gamma is not None).every_word)}"))
            _print_metrics(subject, wanted)
    else:
        header = ("model", "dataset", "seed", *FIGURES, "gamma", "made", "run")
        print_columns(
            header, [_cells(run, subject, gamma is not None) for run, subject in measured]
        )


def _tell_apart(runs: Sequence[Run]) -> list[str]:
    """Say in which points runs that stand in one table must not be compared; runs of several
    datasets by dataset."""
    from zslkit.report.comparability import Comparability, differing

    said = differing([Comparability.of(run.record) for run in runs])
    for sentence in said:
        tell(sentence)
    return said


def _measured(folder: Path, gamma: float | None) -> tuple[Run, Subject]:
    from zslkit.errors import DataError
    from zslkit.evaluation.catalog import Subject
    from zslkit.evaluation.sets import checked_sets
    from zslkit.runs.folders import load_run

    run = load_run(folder)
    scores = run.scores()
    protocol = run.record.protocol
    try:
        sets = checked_sets(*scores.sets())
    except DataError as error:  # which of several runs it is
        raise DataError(f"{folder}: {error}") from error
    validated = protocol.gamma if protocol.calibration == "validation" else None
    return run, Subject(
        sets,
        protocol.gamma if gamma is None else gamma,
        validated,
        scores.classes,
        run.attributes(),
    )


def _name(run: Run) -> str:
    return f"{run.record.model.name} on {run.record.dataset.name}, seed {run.record.seed}"


def _gamma(run: Run, subject: Subject, own: bool) -> str:
    source = (
        "given by hand"
        if own
        else {"none": "not calibrated", "validation": "from validation"}[
            run.record.protocol.calibration
        ]
    )
    return f"{subject.gamma:.3g} ({source})"


def _made(run: Run, own: bool) -> Badges:
    """How the figures were made. own: under a gamma of the user's."""
    from dataclasses import replace

    from zslkit.report.badges import BY_HAND, badges_of

    made = badges_of(run.record)
    return replace(made, calibration=BY_HAND) if own else made


def _cells(run: Run, subject: Subject, own: bool) -> tuple[str, ...]:
    record, figures = run.record, subject.plain.figures()
    shown = [_figure(name, figures[name]) for name in FIGURES]
    return (
        record.model.name,
        record.dataset.name,
        str(record.seed),
        *shown,
        _gamma(run, subject, own),
        ", ".join(_made(run, own).every_word),
        str(run.folder),
    )


def _print_metrics(subject: Subject, wanted: Sequence[Metric]) -> None:
    small = [metric for metric in wanted if not metric.large]
    if small:
        rows = [
            (metric.name, f"{_small(metric, subject):>6}", metric.description) for metric in small
        ]
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


def _small(metric: Metric, subject: Subject) -> str:
    """A number, or why there is none."""
    if metric.of_attributes and subject.attributes is None:
        return "not kept"
    return _figure(metric.name, metric.compute(subject))


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
    print_columns(
        (
            "images",
            f"true class -> answer, the most frequent of {int(table.sum() - np.trace(table))} "
            "wrong answers",
        ),
        rows,
    )


def _print_curve(subject: Subject, points: Sequence[Mapping[str, float]]) -> None:
    steps = sorted({round(k * (len(points) - 1) / (ROWS - 1)) for k in range(ROWS)})
    shown = [points[k] for k in steps]
    print_columns(
        ("gamma above", "S", "U"),
        [(f"{p['above']:.4g}", f"{p['S']:5.1f}", f"{p['U']:5.1f}") for p in shown],
    )
    if len(steps) < len(points):
        echo(f"{len(steps)} of {len(points)} points; --json prints all")


def _figure(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if name == "AUSUC" else f"{value:.1f}"


def _data(
    run: Run, subject: Subject, wanted: Sequence[Metric], own: bool, per_class: bool
) -> dict[str, Any]:
    record, plain = run.record, subject.plain
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
        "gamma_given_by_hand": own,
        "chance": plain.chance,
        "protocol": record.protocol.model_dump(mode="json"),
        "badges": _made(run, own).as_data(),
        "elsewhere": record.elsewhere,
        "run_folder": str(run.folder),
    }
    if per_class:
        said["per_class"] = dict(zip(subject.classes, plain.per_class.tolist(), strict=True))
    return said
