"""`zslkit compare`: several models and seeds in one table. Finished runs are reused, missing ones are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from zslkit.cli import completers
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import find_names, find_trackers
from zslkit.cli.many import (
    Failure,
    QueuedRun,
    failure_sentences,
    parse_seeds,
    refused,
    run_all,
    settled,
)
from zslkit.cli.many import as_json as failures_json
from zslkit.cli.options import (
    as_papers_do_option,
    check_policy,
    dataset_option,
    debug_option,
    explained,
    json_option,
    overrides,
    run_options,
    source_options,
    spread_options,
)
from zslkit.cli.output import echo, print_json, print_table
from zslkit.cli.spread import Spread
from zslkit.cli.verb import Verb
from zslkit.errors import UserError

if TYPE_CHECKING:
    from zslkit.runs.api import Result
    from zslkit.runs.folders import Run


class Shown(NamedTuple):
    """What the tables show: what picking on test would give too, and whether every protocol stands apart."""

    as_papers_do: bool
    strict: bool


FORMATS = {
    "terminal": "aligned columns",
    "markdown": "a Markdown table",
    "latex": "a LaTeX table",
    "csv": "a line for each row and run",
    "json": "the same as --json",
}


@click.command(
    cls=Verb,
    example="zslkit compare eszsl sje ale --dataset digits --seeds 0-2",
)
@click.argument(
    "names", metavar="MODEL...", nargs=-1, required=True, shell_complete=completers.models
)
@dataset_option
@click.option(
    "--seeds",
    callback=parse_seeds,
    default="0",
    show_default=True,
    metavar="LIST",
    help="Seeds, such as 0,1,2 or 0-4.",
)
@click.option(
    "--end-to-end",
    is_flag=True,
    help="Give each model the input that it prefers; default: features of one frozen backbone.",
)
@as_papers_do_option
@click.option(
    "--strict", is_flag=True, help="Put inductive and class-inductive models in separate tables."
)
@explained(
    "--format",
    "form",
    values=FORMATS,
    help="How to print the table; default: terminal.",
)
@click.option("--markdown", is_flag=True, help="Short for --format markdown.")
@source_options
@run_options
@spread_options
@json_option
@debug_option
@click.pass_obj
def compare(
    state: State,
    /,
    names: tuple[str, ...],
    dataset: str,
    seeds: tuple[int, ...],
    end_to_end: bool,
    as_papers_do: bool,
    strict: bool,
    form: str | None,
    no_run: bool,
    markdown: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run each MODEL with each seed, and put all runs in one table. Finished runs are reused.

    All models get features of one frozen backbone where they can; --end-to-end gives each its own.
    The table shows H with its 95 % interval over draws of the test images, and notes say which
    rows really differ. No number in it was picked on test images.
    """
    form = _format(form, markdown, as_json)
    check_policy(options["again"], no_run, options["reuse_changed"])
    models = list(dict.fromkeys(names))
    find_names(models, dataset)
    state.resumes = True
    spread = Spread(options.pop("jobs"), options.pop("backend"), options.pop("scheduler"))
    feed = options.pop("feed") or (None if end_to_end else "frozen")
    winning = overrides(
        options.pop("backbone"),
        options.pop("backbone_weights"),
        feed,
        options.pop("precision"),
        options.pop("tune"),
        options.pop("feature_precision"),
    )
    shown = Shown(as_papers_do, strict)
    if no_run:
        found, missing = _finished_runs(models, dataset, seeds, options, winning)
        _print(found, [], form, shown, missing)
        return 0
    # Before any plugin runs, so that a run is held against what makes the tables of it as well.
    import zslkit.report.blocks  # noqa: F401

    find_trackers(options["trackers"])  # once, and not as a failure of each run
    results, failures = _run_all(
        models, dataset, seeds, state, spread, overrides=winning, **options
    )
    _print(results, failures, form, shown)
    for line in failure_sentences(failures):
        tell(line)
    return 1 if failures else 0


def _run_all(
    models: Sequence[str],
    dataset: str,
    seeds: Sequence[int],
    state: State,
    spread: Spread,
    **options: Any,
) -> tuple[list[Result], list[Failure]]:
    from zslkit.utils.progress import reporter_for

    jobs = [
        QueuedRun(model, seed, {"model": model, "dataset": dataset, "seed": seed, **options})
        for model, seed in product(models, seeds)
    ]
    mistaken = refused(jobs, state)
    stopped = {failure.job.name for failure in mistaken}
    done: list[tuple[QueuedRun, Result]] = []
    failures: list[Failure] = []
    if sound := [job for job in jobs if job.name not in stopped]:
        for line in failure_sentences(
            mistaken
        ):  # here, and with the others at the end: hours may lie between
            tell(line)
        done, failures = run_all(sound, state, reporter_for(), spread)
    done, failures = settled(done, [*mistaken, *failures])
    return [result for _, result in done], failures


def _format(form: str | None, markdown: bool, as_json: bool) -> str:
    run_query = dict.fromkeys(
        [
            *([form] if form else []),
            *(["markdown"] if markdown else []),
            *(["json"] if as_json else []),
        ]
    )
    if len(run_query) > 1:
        raise click.UsageError(
            f"{' and '.join(run_query)} exclude each other: choose one --format (--json and --markdown are short forms)"
        )
    return next(iter(run_query), "terminal")


def _finished_runs(
    models: Sequence[str],
    dataset: str,
    seeds: Sequence[int],
    options: Mapping[str, Any],
    winning: Mapping[str, Any],
) -> tuple[list[Run], list[tuple[str, int]]]:
    """The finished runs that are there, and which model and seed has none. Raises UserError if there is none at all."""
    from zslkit.runs.find import matching_runs, other_source, run_query
    from zslkit.runs.folders import find_runs

    there = find_runs(options["out"], tell)
    choices = {name: options[name] for name in ("settings", "config", "preset")}
    found: list[Run] = []
    missing: list[tuple[str, int]] = []
    for model in models:
        looked_for = run_query(model, dataset, overrides=winning, **choices)
        own = {seed: matching_runs(there, looked_for, seed) for seed in seeds}
        found += (runs := [run for of_seed in own.values() for run in of_seed])
        missing += [(model, seed) for seed, of_seed in own.items() if not of_seed]
        if said := other_source(runs, looked_for):
            tell(said)
    named = ", ".join(f"{model} (seed {seed})" for model, seed in missing)
    if not found:
        raise UserError(
            f"None of these runs with these settings is finished in {options['out']}: {named}; leave --no-run away"
        )
    if missing:
        tell(f"Not there, and --no-run was given: {named}")
    return found, missing


def _print(
    results: Sequence[Result | Run],
    failures: Sequence[Failure],
    form: str,
    shown: Shown,
    missing: Sequence[tuple[str, int]] = (),
) -> None:
    from zslkit.record import json_summary
    from zslkit.report import tables
    from zslkit.report.blocks import blocks_of

    blocks = blocks_of(results, shown.as_papers_do, shown.strict)
    if form == "json":
        runs = [json_summary(result.record, result.folder) for result in results]
        lacking = [{"model": model, "seed": seed} for model, seed in missing]
        failed = failures_json(failures, "model")
        print_json(
            {"blocks": tables.as_json(blocks), "runs": runs, "failures": failed, "missing": lacking}
        )
    elif blocks and form == "terminal":
        print_table(tables.rich_table(blocks))
    elif blocks:
        from zslkit.report import export

        write = {"markdown": tables.markdown, "latex": export.latex, "csv": export.as_csv}[form]
        echo(write(blocks).rstrip("\n"))
        if form == "csv":  # which has no room for them
            for note in (note for block in blocks for note in block.notes):
                tell(note)
