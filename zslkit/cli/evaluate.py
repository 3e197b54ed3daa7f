"""`zslkit evaluate`: metrics of finished runs from the scores they kept, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import print_columns, print_json
from zslkit.cli.present import FIGURES

if TYPE_CHECKING:
    from zslkit.evaluation.gzsl import Metrics
    from zslkit.results.runs import Run


@click.command()
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--gamma", type=float, help="Added to the scores of unseen classes; default: what the run's validation picked, or 0.")
@click.option("--per-class", is_flag=True, help="The accuracy of every class too (with --json).")
@json_option
@debug_option
def evaluate(folders: tuple[Path, ...], gamma: float | None, per_class: bool, as_json: bool) -> None:
    """Compute T1, U, S, H and AUSUC of each run folder RUN from its stored scores.

    A --gamma of your own is no result: it was not picked on validation, and the table says so.
    """
    from zslkit.evaluation.gzsl import evaluate as evaluated
    from zslkit.results.runs import load_run

    if per_class and not as_json:
        raise click.UsageError("--per-class goes with --json")
    measured = []
    for folder in folders:
        run = load_run(folder)
        used = run.record.protocol.gamma if gamma is None else gamma
        measured.append((run, evaluated(*run.scores().sets(), used)))
    if as_json:
        print_json({"runs": [_data(run, metrics, gamma is not None, per_class) for run, metrics in measured]})
        return
    header = ("model", "dataset", "seed", *FIGURES, "gamma", "run")
    print_columns(header, [_cells(run, metrics, gamma is not None) for run, metrics in measured])


def _cells(run: Run, metrics: Metrics, own: bool) -> tuple[str, ...]:
    record, figures = run.record, metrics.figures()
    shown = [f"{figures[name]:.3f}" if name == "AUSUC" else f"{figures[name]:.1f}" for name in FIGURES]
    source = "given by hand" if own else {"none": "not calibrated", "validation": "from validation"}[record.protocol.calibration]
    return (record.model.name, record.dataset.name, str(record.seed), *shown, f"{metrics.gamma:.3g} ({source})", str(run.folder))


def _data(run: Run, metrics: Metrics, own: bool, per_class: bool) -> dict[str, Any]:
    record = run.record
    said: dict[str, Any] = {
        "model": record.model.name,
        "dataset": record.dataset.name,
        "seed": record.seed,
        "metrics": metrics.figures(),
        "gamma": metrics.gamma,
        "gamma_given_by_hand": own,
        "chance": metrics.chance,
        "protocol": record.protocol.model_dump(mode="json"),
        "elsewhere": record.elsewhere,
        "run_folder": str(run.folder),
    }
    if per_class:
        said["per_class"] = dict(zip(run.scores().classes, metrics.per_class.tolist(), strict=True))
    return said
