"""`zslkit compare`: models, seeds and finished runs in one table. What is missing is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.chosen_runs import named_runs
from zslkit.cli.compare_table import FORMATS, format_of, layout_of, print_comparison
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import find_names, find_trackers
from zslkit.cli.many import (
    Failure,
    QueuedRun,
    parse_seeds,
    plan_of,
    refused,
    run_all,
    settled,
    tell_failures,
)
from zslkit.cli.many import as_json as failures_json
from zslkit.cli.options import (
    as_papers_do_option,
    check_policy,
    dataset_option,
    explained,
    flag,
    overrides,
    run_options,
    spread_options,
    table_source_options,
)
from zslkit.cli.options import names as option_names
from zslkit.cli.spread import Spread
from zslkit.cli.verb import given, verb
from zslkit.errors import UnknownName, UserError, ZslkitError
from zslkit.registry import MODELS

if TYPE_CHECKING:
    from zslkit.runs.api import Result
    from zslkit.runs.folders import Run

OF_TABLE = {
    *("names", "as_papers_do", "strict", "form", "markdown", "as_json", "columns", "title", "out"),
    "no_run",
}
"""Parameters that have a meaning where nothing is run."""


@verb(
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
    metavar="LIST",
    help="Seeds, such as 0,1,2 or 0-4.",
)
@flag(
    "--end-to-end",
    "Give each model the input that it prefers; default: features of one frozen backbone.",
)
@as_papers_do_option
@flag("--strict", "Put inductive and class-inductive models in separate tables.")
@explained(
    "--format",
    "form",
    values=FORMATS,
    former={"terminal": "table"},
    help="How to print the table; default: table.",
)
@flag("--markdown", "Short for --format markdown.")
@click.option(
    "--columns",
    callback=option_names,
    metavar="A,B",
    shell_complete=completers.columns,
    help="Columns to show, of runs, T1, U, S, H, H-none (without calibration), AUSUC, parameters, "
    "training, peak-memory and protocol. Markdown and LaTeX show costs only where they are named.",
)
@click.option(
    "--caption",
    "title",
    default="",
    show_default=False,
    metavar="TEXT",
    help="Caption of the table.",
)
@table_source_options
@run_options
@spread_options
@click.pass_obj
@click.pass_context
def compare(
    ctx: click.Context,
    state: State,
    /,
    names: tuple[str, ...],
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
    MODEL:KEY=VALUE, and a section MODEL in the file of --config, are settings of that model alone;
    a setting that a model lacks is left out if another one has it. --preset MODEL:NAME is the
    preset of that model alone.

    All models get features of one frozen backbone where they can; --end-to-end gives each its own.
    The table shows H with its 95 % interval over draws of the test images, and notes say which
    rows really differ. No number in it was picked on test images.
    """
    form = format_of(form, markdown, as_json)
    layout = layout_of(form, columns, title)
    show = partial(print_comparison, form, layout, as_papers_do, strict)
    check_policy(options["again"], no_run, options["reuse_changed"])
    models, runs = _sorted(names, options["out"])
    if not models:
        if wrong := [option for name, option in given(ctx).items() if name not in OF_TABLE]:
            text = f"{wrong[0]} says how models are run, and only finished runs are named"
            raise click.UsageError(f"{text}; leave it away, or name a model too")
        return show(runs)
    from zslkit.runs.shared_settings import own_preset

    find_names(models, options["dataset"])
    state.resumes = True
    spread = Spread.taken_from(options)
    if not end_to_end:
        options["feed"] = options["feed"] or "frozen"
    presets: tuple[str, ...] = options.pop("preset")
    options |= {"table": tuple(models), "overrides": overrides(options)}
    own = {model: own_preset(model, models, presets) for model in models}
    jobs = [
        QueuedRun(model, seed, {"model": model, "seed": seed, "preset": own[model], **options})
        for model, seed in product(models, seeds)
    ]
    if no_run:
        found, missing = _finished_runs(jobs, options["out"])
        return show([*found, *runs], missing=missing)
    # Before any plugin runs, so that a run is held against what makes the tables of it as well.
    import zslkit.report.blocks  # noqa: F401

    find_trackers(options["trackers"])  # once, and not as a failure of each run
    watched = _watching(jobs) if as_papers_do else jobs
    results, failures = _run_all(watched, presets, state, spread)
    code = show([*results, *runs], failed=failures_json(failures, "model"))
    return tell_failures(failures) or code


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
            try:
                runs |= {run.folder.resolve(): run for run in named_runs([name], out)}
            except UnknownName:
                more = f"Nor is it a folder of runs, or a tag below {out}"
                raise UnknownName(error.kind, name, error.known, more) from None
        else:
            models.append(name)
    return models, list(runs.values())


def _run_all(
    jobs: Sequence[QueuedRun], presets: Sequence[str], state: State, spread: Spread
) -> tuple[list[Result], list[Failure]]:
    from zslkit.config.merge import read_yaml
    from zslkit.runs.shared_settings import owners
    from zslkit.utils.progress import reporter_for

    mistaken = refused(jobs, state)
    addressed: set[str] = set()
    if mistaken:
        shared = jobs[0].arguments
        file = None if shared["config"] is None else read_yaml(shared["config"])
        addressed = owners(shared["table"], file, [*shared["settings"], *presets])
    for failure in mistaken:
        # What is said to one model alone is meant for this table, which is nothing without it.
        if failure.job.name in addressed and isinstance(failure.error, UserError):
            raise failure.error
    stopped = {failure.job.name for failure in mistaken}
    done: list[tuple[QueuedRun, Result]] = []
    failures: list[Failure] = []
    if sound := [job for job in jobs if job.name not in stopped]:
        # Here, and with the others at the end: hours may lie between.
        tell_failures(mistaken)
        done, failures = run_all(sound, state, reporter_for(), spread)
    done, failures = settled(done, [*mistaken, *failures])
    return [result for _, result in done], failures


def _watching(jobs: Sequence[QueuedRun]) -> list[QueuedRun]:
    """The jobs; those whose run is not there yet score the test sets after every epoch."""
    from zslkit.runs.find import matching_runs
    from zslkit.runs.folders import find_runs

    there: list[Run] | None = None
    watching: list[QueuedRun] = []
    for job in jobs:
        chosen = job.arguments["overrides"]
        try:
            plan = plan_of(job.arguments)
        except ZslkitError:  # told where the run is made
            watching.append(job)
            continue
        there = find_runs(job.arguments["out"], tell) if there is None else there
        if job.arguments["again"] or not matching_runs(there, plan, job.seed):
            chosen = chosen | {"protocol": chosen.get("protocol", {}) | {"watch_test": 1}}
        watching.append(replace(job, arguments={**job.arguments, "overrides": chosen}))
    return watching


def _finished_runs(jobs: Sequence[QueuedRun], out: Path) -> tuple[list[Run], list[tuple[str, int]]]:
    """The finished runs that are there, and which model and seed has none.

    Raises:
        UserError: There is none at all.
    """
    from zslkit.runs.find import matching_runs, other_source
    from zslkit.runs.folders import find_runs

    there = find_runs(out, tell)
    found: list[Run] = []
    missing: list[tuple[str, int]] = []
    for model, of_model in groupby(jobs, lambda job: job.name):
        own = list(of_model)
        looked_for = plan_of(own[0].arguments)
        matching = {job.seed: matching_runs(there, looked_for, job.seed) for job in own}
        found += (runs := [run for of_seed in matching.values() for run in of_seed])
        missing += [(model, seed) for seed, of_seed in matching.items() if not of_seed]
        if said := other_source(runs, looked_for):
            tell(said)
    named = ", ".join(f"{model} (seed {seed})" for model, seed in missing)
    if not found:
        none = "None of these runs with these settings is finished"
        raise UserError(f"{none} in {out}: {named}; leave --no-run away")
    if missing:
        tell(f"Not there, and --no-run was given: {named}")
    return found, missing
