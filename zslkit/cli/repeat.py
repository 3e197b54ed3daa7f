"""`zslkit run --again-from RUN`: a finished run once more, held against the first one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli.output import echo, print_columns, print_json, printable

if TYPE_CHECKING:
    from zslkit.runs.folders import Run
    from zslkit.runs.repeat import Repetition

OUT = Path("repeated")
"""Folder of repetitions, so that they stand in no way of the first runs."""
TAKEN = {
    "again_from",
    "dataset",
    "data_root",
    "device",
    "deterministic",
    "out",
    "trackers",
    "jobs",
    "backend",
    "scheduler",
    "as_json",
}
"""Parameters that a repetition takes; all else is the run's."""


def check_options(ctx: click.Context) -> dict[str, bool]:
    """Which parameters were given.

    Raises:
        UsageError: One of them is decided by the run that is repeated.
    """
    given = {
        str(param.name): ctx.get_parameter_source(str(param.name))
        == click.core.ParameterSource.COMMANDLINE
        for param in ctx.command.params
    }
    for param in ctx.command.params:
        if given[str(param.name)] and param.name not in TAKEN:
            raise click.UsageError(
                f"--again-from takes model, seed and settings from the run; leave {param.opts[0]} "
                "away"
            )
    return given


def arguments_of(folder: Path, ctx: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `zslkit.run` that repeat the run in a folder.

    Raises:
        UserError: The run cannot be repeated here; says why.
    """
    from zslkit.runs import repeat
    from zslkit.runs.folders import load_run

    given, run = check_options(ctx), load_run(folder)
    out = options["out"] if given["out"] else OUT
    repeat.check_place(run, out)
    repeat.check_scores(run)
    made = run.record.environment
    return repeat.arguments_of(
        run,
        options["dataset"] if given["dataset"] else None,
        data_root=options["data_root"],
        device=options["device"] if given["device"] else made.device,
        deterministic=options["deterministic"] or made.deterministic,
        trackers=options["trackers"],
        out=out,
        again=True,
    )


def show(first: Run, second: Run, as_json: bool) -> int:
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
        echo(printable(words(found, first.folder)))
        if differs:
            rows = [(key, str(x), str(y)) for key, (x, y) in differs.items()]
            print_columns(("what differs", "first", "now"), rows)
    return 0 if found.equal else 1


def words(found: Repetition, folder: Path) -> str:
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
