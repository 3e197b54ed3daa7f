"""`zslkit run`: one model on one dataset, start to end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import find_names, find_trackers
from zslkit.cli.many import check_search, plan_of, tries_of
from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    check_policy,
    dataset_option,
    flag,
    overrides,
    path_option,
    run_options,
    source_options,
    spread_options,
)
from zslkit.cli.output import echo, print_columns, print_json, printable
from zslkit.cli.process import launch
from zslkit.cli.spread import Spread
from zslkit.cli.verb import given, verb
from zslkit.errors import UserError
from zslkit.utils import distributed
from zslkit.utils.seeds import MOST_SEED

if TYPE_CHECKING:
    from zslkit.runs.api import Result
    from zslkit.runs.folders import Run
    from zslkit.runs.repeat import Repetition


REPEATED = Path("repeated")
"""Folder of repetitions, so that they stand in no way of the first runs."""
TAKEN = {
    *("again_from", "dataset", "data_root", "device", "deterministic", "out", "trackers"),
    *("jobs", "backend", "scheduler", "as_json"),
}
"""Parameters that a repetition takes; all else is the run's."""


@verb(
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
@path_option(
    "--again-from",
    metavar="RUN",
    shell_complete=completers.runs,
    help="Repeat the run in this folder, with its model, dataset, seed and settings, below "
    "--out (default: repeated), and say whether the scores are equal to the byte.",
)
@dataset_option
@click.option("--seed", type=Whole(0, MOST_SEED), default=0, help="Seed of all random numbers.")
@flag(
    "--as-papers-do",
    "Score the test sets after every epoch, to report, apart from the results, what picking "
    "the epoch on them would give; takes time.",
    "watch_test",
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
@click.pass_obj
@click.pass_context
def run(
    ctx: click.Context,
    state: State,
    /,
    model: str | None,
    again_from: Path | None,
    no_run: bool,
    processes: int | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Train and evaluate one model on one dataset.

    A run that is finished already is shown and not repeated. --jobs, --backend and --scheduler
    try several points of a search (--tune) at once.
    """
    if again_from is not None:
        return _repeat(again_from, ctx, state, Spread.taken_from(options))
    if model is None:
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])
    check_policy(options["again"], no_run, options["reuse_changed"])
    find_names([model], options["dataset"])
    options["watch_test"] = int(options["watch_test"])  # every so many epochs
    arguments = {"model": model, "overrides": overrides(options), **options}
    if no_run:
        _show(_standing(arguments), as_json, True, calibrating(state))
        return 0
    spread = Spread.taken_from(arguments)
    if processes is not None and processes > 1 and not distributed.launched():
        if spread.asked:
            raise click.UsageError(
                "--processes share one training, and --jobs and --backend spread a search; choose "
                "one of them"
            )
        return launch(processes, state)
    result = _made(arguments, spread, state)
    _show(result, as_json, result.reused, calibrating(state))
    return 0


def _made(arguments: dict[str, Any], spread: Spread, state: State) -> Result:
    """The run with these arguments of `zslkit.run`."""
    from zslkit.runs import api
    from zslkit.utils.progress import reporter_for

    state.resumes = True
    find_trackers(arguments["trackers"])
    if spread.asked:
        check_search(arguments)
    return api.run(
        **arguments, reporter=reporter_for(), executor=tries_of(arguments, spread, state)
    )


def calibrating(state: State) -> str:
    """The command line of this run, with calibration on validation."""
    words = shlex.join(a for a in state.arguments if a not in ("--no-run", "--again"))
    words = re.sub(r" --set[ =]protocol\.calibration=\w+", "", words)
    return f"zslkit {words} --set protocol.calibration=validation"


def _repeat(folder: Path, ctx: click.Context, state: State, spread: Spread) -> int:
    from zslkit.runs.folders import load_run

    made = _made(_arguments_again(folder, ctx), spread, state)
    return _show_again(load_run(folder), load_run(made.folder), ctx.params["as_json"])


def _arguments_again(folder: Path, ctx: click.Context) -> dict[str, Any]:
    """Arguments of `zslkit.run` that repeat the run in a folder.

    Raises:
        UsageError: An option is given that the run decides.
        UserError: The run cannot be repeated here; says why.
    """
    from zslkit.runs import repeat
    from zslkit.runs.folders import load_run

    asked, options = given(ctx), ctx.params
    if wrong := [option for name, option in asked.items() if name not in TAKEN]:
        text = "--again-from takes model, seed and settings from the run"
        raise click.UsageError(f"{text}; leave {wrong[0]} away")
    run, out = load_run(folder), options["out"] if "out" in asked else REPEATED
    repeat.check_place(run, out)
    repeat.check_scores(run)
    made = run.record.environment
    return repeat.arguments_of(
        run,
        options["dataset"] if "dataset" in asked else None,
        data_root=options["data_root"],
        device=options["device"] if "device" in asked else made.device,
        deterministic=options["deterministic"] or made.deterministic,
        trackers=options["trackers"],
        out=out,
        again=True,
    )


def _show_again(first: Run, second: Run, as_json: bool) -> int:
    """Print the repetition and whether its scores are those of the first run.

    Returns:
        Exit code: 0 if they are equal to the byte, else 1.
    """
    from zslkit.cli.present import print_run
    from zslkit.record import json_summary
    from zslkit.report.difference import causes
    from zslkit.runs.repeat import compared

    found, differs = compared(first, second), causes(first.record, second.record)
    if as_json:
        print_json(
            json_summary(second.record, second.folder)
            | {
                "repeats": {
                    "run_folder": str(first.folder),
                    "equal_to_the_byte": found.equal,
                    "largest_difference": found.largest,
                    "answers_changed": found.answers,
                    "metrics": {name: list(pair) for name, pair in found.metrics.items()},
                    "differs": {key: list(pair) for key, pair in differs.items()},
                }
            }
        )
    else:
        print_run(second.record, second.folder, reused=False)
        echo()
        echo(printable(_equality(found, first.folder)))
        if differs:
            rows = [(key, str(x), str(y)) for key, (x, y) in differs.items()]
            print_columns(("what differs", "first", "now"), rows)
    return 0 if found.equal else 1


def _equality(found: Repetition, folder: Path) -> str:
    """Whether the scores are equal, in a sentence."""
    if found.equal:
        return f"The scores are equal to the byte to those of {folder}."
    if found.largest is None:
        return f"The scores are of other images or classes than those of {folder}."
    moved = ", ".join(f"{name} {a:.4g} is {b:.4g} now" for name, (a, b) in found.metrics.items())
    return (
        f"The scores differ from those of {folder} by up to {found.largest:.3g}; "
        f"{found.answers} test images are answered otherwise" + (f": {moved}." if moved else ".")
    )


def _standing(arguments: Mapping[str, Any]) -> Run:
    """The newest run that is there. Raises UserError if there is none."""
    from zslkit.runs.find import matching_runs, other_source
    from zslkit.runs.folders import find_runs

    model, dataset, seed, out = (arguments[key] for key in ("model", "dataset", "seed", "out"))
    looked_for = plan_of(arguments)
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
