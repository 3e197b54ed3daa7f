"""`zslkit compare`: models, seeds and finished runs in one table. What is missing is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.compare_table import FORMATS, Shown, format_of, layout_of, print_comparison
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import MODELS, find_names, find_trackers
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
from zslkit.cli.spread import Spread
from zslkit.cli.verb import Verb
from zslkit.errors import UnknownName, UserError, ZslkitError

if TYPE_CHECKING:
    from zslkit.runs.api import Result
    from zslkit.runs.folders import Run

OF_TABLE = {
    "names",
    "as_papers_do",
    "strict",
    "form",
    "markdown",
    "as_json",
    "columns",
    "title",
    "out",
    "no_run",
}
"""Parameters that have a meaning where nothing is run."""


def _words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(word.strip() for word in value.split(",") if word.strip())


@click.command(
    cls=Verb,
    example="zslkit compare eszsl sje ale --dataset digits --seeds 0-2\n"
    "zslkit compare eszsl dazle --set dazle:train.epochs=2\n"
    "zslkit compare runs/digits --format latex --columns T1,U,S,H --caption Digits",
)
@click.argument(
    "names",
    metavar="MODEL|RUN...",
    nargs=-1,
    required=True,
    shell_complete=completers.models_and_runs,
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
    former={"terminal": "table"},
    help="How to print the table; default: table.",
)
@click.option("--markdown", is_flag=True, help="Short for --format markdown.")
@click.option(
    "--columns",
    callback=_words,
    metavar="A,B",
    shell_complete=completers.columns,
    help="Columns to show, of runs, T1, U, S, H, H-none (without calibration), AUSUC, parameters, "
    "training, peak-memory and protocol. Markdown and LaTeX show costs only where they are named.",
)
@click.option("--caption", "title", default="", metavar="TEXT", help="Caption of the table.")
@source_options
@run_options
@spread_options
@json_option
@debug_option
@click.pass_obj
@click.pass_context
def compare(
    ctx: click.Context,
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
    columns: tuple[str, ...] | None,
    title: str,
    as_json: bool,
    **options: Any,
) -> int:
    """Put models and finished runs in one table. Finished runs are reused, missing ones are run.

    Each MODEL is run with each seed. A RUN is taken as it is: a run folder, a folder of such, a
    pattern in quotes, a tag (zslkit runs --tag), or a file of zslkit runs --export. --set
    MODEL:KEY=VALUE, and a section MODEL in
    the file of --config, are settings of that model alone; a setting that a model lacks is left
    out if another one has it.

    All models get features of one frozen backbone where they can; --end-to-end gives each its own.
    The table shows H with its 95 % interval over draws of the test images, and notes say which
    rows really differ. No number in it was picked on test images.
    """
    form = format_of(form, markdown, as_json)
    shown = Shown(form, as_papers_do, strict, layout_of(form, columns, title))
    check_policy(options["again"], no_run, options["reuse_changed"])
    models, given = _sorted(names, options["out"])
    if not models:
        _check_only_runs(ctx)
        return print_comparison(given, shown)
    find_names(models, dataset)
    options["table"] = tuple(models)
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
    if no_run:
        found, missing = _finished_runs(models, dataset, seeds, options, winning)
        return print_comparison([*found, *given], shown, missing=missing)
    # Before any plugin runs, so that a run is held against what makes the tables of it as well.
    import zslkit.report.blocks  # noqa: F401

    find_trackers(options["trackers"])  # once, and not as a failure of each run
    results, failures = _run_all(
        models, dataset, seeds, state, spread, as_papers_do, overrides=winning, **options
    )
    code = print_comparison([*results, *given], shown, failures_json(failures, "model"))
    for line in failure_sentences(failures):
        tell(line)
    return 1 if failures else code


def _sorted(names: Sequence[str], out: Path) -> tuple[list[str], list[Run]]:
    """The words of the command line as models and finished runs.

    A registered model goes before a folder or tag of its name; a path leads to the folder.

    Raises:
        UserError: A word is neither.
    """
    models: list[str] = []
    runs: dict[Path, Run] = {}
    for name in dict.fromkeys(names):
        try:
            MODELS.find(name)
        except UnknownName as error:
            for run in _runs(name, out, error):
                runs[run.folder.resolve()] = run
        else:
            models.append(name)
    return models, list(runs.values())


def _runs(name: str, out: Path, unknown: UnknownName) -> list[Run]:
    from zslkit.runs.named import looks_like_place, runs_at, tagged_runs

    if looks_like_place(name):
        return runs_at(name, tell)
    if found := tagged_runs(name, out):
        return found
    raise UnknownName(
        unknown.kind, name, unknown.known, f"Nor is it a folder of runs, or a tag below {out}"
    )


def _check_only_runs(ctx: click.Context) -> None:
    """Raises UsageError for an option that says how models are run, where none is."""
    for param in ctx.command.params:
        given = param.name and ctx.get_parameter_source(param.name)
        if given == click.core.ParameterSource.COMMANDLINE and param.name not in OF_TABLE:
            raise click.UsageError(
                f"{param.opts[0]} says how models are run, and only finished runs are named; "
                "leave it away, or name a model too"
            )


def _run_all(
    models: Sequence[str],
    dataset: str,
    seeds: Sequence[int],
    state: State,
    spread: Spread,
    as_papers_do: bool,
    **options: Any,
) -> tuple[list[Result], list[Failure]]:
    from zslkit.config.merge import read_yaml
    from zslkit.runs.shared_settings import owners
    from zslkit.utils.progress import reporter_for

    jobs = [
        QueuedRun(model, seed, {"model": model, "dataset": dataset, "seed": seed, **options})
        for model, seed in product(models, seeds)
    ]
    if as_papers_do:
        jobs = _watching(jobs)
    mistaken = refused(jobs, state)
    file = read_yaml(options["config"]) if options["config"] is not None and mistaken else None
    addressed = owners(models, file, options["settings"])
    for failure in mistaken:
        # What is said to one model alone is meant for this table, which is nothing without it.
        if failure.job.name in addressed and isinstance(failure.error, UserError):
            raise failure.error
    stopped = {failure.job.name for failure in mistaken}
    done: list[tuple[QueuedRun, Result]] = []
    failures: list[Failure] = []
    if sound := [job for job in jobs if job.name not in stopped]:
        # Here, and with the others at the end: hours may lie between.
        for line in failure_sentences(mistaken):
            tell(line)
        done, failures = run_all(sound, state, reporter_for(), spread)
    done, failures = settled(done, [*mistaken, *failures])
    return [result for _, result in done], failures


def _watching(jobs: Sequence[QueuedRun]) -> list[QueuedRun]:
    """The jobs; those whose run is not there yet score the test sets after every epoch."""
    from zslkit.runs.find import matching_runs, run_query
    from zslkit.runs.folders import find_runs

    there: list[Run] | None = None
    watching: list[QueuedRun] = []
    for job in jobs:
        watching.append(job)
        given = job.arguments
        choices = {name: given[name] for name in ("settings", "config", "preset", "table")}
        try:
            query = run_query(job.name, given["dataset"], overrides=given["overrides"], **choices)
        except ZslkitError:  # told where the run is made
            continue
        there = find_runs(given["out"], tell) if there is None else there
        if given["again"] or not matching_runs(there, query, job.seed):
            protocol = given["overrides"].get("protocol", {}) | {"watch_test": 1}
            chosen = given["overrides"] | {"protocol": protocol}
            watching[-1] = replace(job, arguments={**given, "overrides": chosen})
    return watching


def _finished_runs(
    models: Sequence[str],
    dataset: str,
    seeds: Sequence[int],
    options: Mapping[str, Any],
    winning: Mapping[str, Any],
) -> tuple[list[Run], list[tuple[str, int]]]:
    """The finished runs that are there, and which model and seed has none.

    Raises:
        UserError: There is none at all.
    """
    from zslkit.runs.find import matching_runs, other_source, run_query
    from zslkit.runs.folders import find_runs

    there = find_runs(options["out"], tell)
    choices = {name: options[name] for name in ("settings", "config", "preset", "table")}
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
            f"None of these runs with these settings is finished in {options['out']}: {named}; "
            "leave --no-run away"
        )
    if missing:
        tell(f"Not there, and --no-run was given: {named}")
    return found, missing
