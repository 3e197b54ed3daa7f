"""`zslkit run`: one model on one dataset, start to end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from zslkit.cli import completers
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import find_names, find_trackers
from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    PLACE,
    check_policy,
    dataset_option,
    debug_option,
    json_option,
    overrides,
    run_options,
    source_options,
    spread_options,
)
from zslkit.cli.output import print_json
from zslkit.cli.spread import Spread
from zslkit.cli.trials import check_search, tries_of
from zslkit.cli.verb import Verb
from zslkit.errors import UserError
from zslkit.utils import distributed
from zslkit.utils.seeds import MOST_SEED

if TYPE_CHECKING:
    from zslkit.runs.api import Result
    from zslkit.runs.folders import Run


@click.command(
    cls=Verb,
    example="zslkit run --model eszsl --dataset digits --seed 0\n"
    "zslkit run --again-from runs/digits/eszsl/seed0-*/",
)
@click.option(
    "--model",
    "-m",
    metavar="NAME",
    shell_complete=completers.models,
    help="A registered model (zslkit models), or DISTRIBUTION:NAME.",
)
@click.option(
    "--again-from",
    type=PLACE,
    metavar="RUN",
    shell_complete=completers.runs,
    help="Repeat the run in this folder, with its model, dataset, seed and settings, below "
    "--out (default: repeated), and say whether the scores are equal to the byte.",
)
@dataset_option
@click.option(
    "--seed",
    type=Whole(0, MOST_SEED),
    default=0,
    show_default=True,
    help="Seed of all random numbers.",
)
@click.option(
    "--as-papers-do",
    is_flag=True,
    help="Score the test sets after every epoch, to report, apart from the results, what picking "
    "the epoch on them would give; takes time.",
)
@source_options
@run_options
@spread_options
@click.option(
    "--processes",
    type=Whole(min=1),
    metavar="N",
    help="Share every batch among N processes of this machine, one for each GPU.",
)
@json_option
@debug_option
@click.pass_obj
@click.pass_context
def run(
    ctx: click.Context,
    state: State,
    /,
    model: str | None,
    again_from: Path | None,
    dataset: str,
    seed: int,
    data_root: Path,
    settings: tuple[str, ...],
    config: Path | None,
    preset: str | None,
    device: str,
    deterministic: bool,
    out: Path,
    trackers: tuple[str, ...],
    again: bool,
    reuse_changed: bool,
    no_run: bool,
    jobs: int | None,
    backend: Literal["local", "dask", "ray"],
    scheduler: str | None,
    processes: int | None,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Train and evaluate one model on one dataset.

    A run that is finished already is shown and not repeated. --jobs, --backend and --scheduler
    try several points of a search (--tune) at once.
    """
    if again_from is not None:
        return _repeat(again_from, ctx, state, Spread(jobs, backend, scheduler))
    if model is None:
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])
    check_policy(again, no_run, reuse_changed)
    find_names([model], dataset)
    if no_run:
        given = {
            "settings": settings,
            "config": config,
            "preset": preset,
            "overrides": overrides(**chosen),
        }
        _show(_standing(model, dataset, seed, out, given), as_json, True, calibrating(state))
        return 0
    spread = Spread(jobs, backend, scheduler)
    if processes is not None and processes > 1 and not distributed.launched():
        if spread.asked:
            raise click.UsageError(
                "--processes share one training, and --jobs and --backend spread a search; choose "
                "one of them"
            )
        from zslkit.cli.launch import launch

        return launch(processes, state)
    from zslkit.runs import api
    from zslkit.utils.progress import reporter_for

    state.resumes = True
    arguments: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "seed": seed,
        "data_root": data_root,
        "settings": settings,
        "config": config,
        "preset": preset,
        "overrides": overrides(**chosen),
        "device": device,
        "deterministic": deterministic,
        "out": out,
        "again": again,
        "reuse_changed": reuse_changed,
        "trackers": trackers,
    }
    find_trackers(trackers)
    if spread.asked:
        check_search(arguments)
    result = api.run(
        **arguments, reporter=reporter_for(), executor=tries_of(arguments, spread, state)
    )
    _show(result, as_json, result.reused, calibrating(state))
    return 0


def calibrating(state: State) -> str:
    """The command line of this run, with calibration on validation."""
    given = shlex.join(a for a in state.arguments if a not in ("--no-run", "--again"))
    given = re.sub(r" --set[ =]protocol\.calibration=\w+", "", given)
    return f"zslkit {given} --set protocol.calibration=validation"


def _repeat(folder: Path, ctx: click.Context, state: State, spread: Spread) -> int:
    from zslkit.cli import repeat
    from zslkit.runs import api
    from zslkit.runs.folders import load_run
    from zslkit.utils.progress import reporter_for

    find_trackers(ctx.params["trackers"])
    arguments = repeat.arguments_of(folder, ctx, ctx.params)
    if spread.asked:
        check_search(arguments)
    state.resumes = True
    made = api.run(
        **arguments, reporter=reporter_for(), executor=tries_of(arguments, spread, state)
    )
    return repeat.show(load_run(folder), load_run(made.folder), ctx.params["as_json"])


def _standing(model: str, dataset: str, seed: int, out: Path, choices: Mapping[str, Any]) -> Run:
    """The newest run that is there. Raises UserError if there is none."""
    from zslkit.runs.find import matching_runs, other_source, run_query
    from zslkit.runs.folders import find_runs

    looked_for = run_query(model, dataset, **choices)
    found = matching_runs(find_runs(out, tell), looked_for, seed)
    if not found:
        raise UserError(
            f"No run of {model} on {dataset} with seed {seed} and these settings is finished in "
            f"{out}; leave --no-run out"
        )
    if len(found) > 1:
        tell(
            f"{len(found)} runs fit, and this is the newest; the others: "
            f"{', '.join(str(run.folder) for run in found[:-1])}"
        )
    if said := other_source(found[-1:], looked_for):
        tell(said)
    return found[-1]


def _show(made: Run | Result, as_json: bool, reused: bool, calibrating: str) -> None:
    if as_json:
        from zslkit.record import json_summary

        print_json(json_summary(made.record, made.folder))
    else:
        from zslkit.cli.present import print_run

        print_run(made.record, made.folder, reused, calibrating)
