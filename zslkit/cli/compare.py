"""`zslkit compare`: several models and seeds in one table. Finished runs are reused, missing ones are run."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import product
from typing import Any

import click

from zslkit.cli.failure import State, is_disk_full, sentence, tell
from zslkit.cli.listing import find_names
from zslkit.cli.options import dataset_option, debug_option, json_option, overrides, run_options, source_options
from zslkit.cli.output import print_json, print_table
from zslkit.errors import UserError

MOST = 1000
"""Seeds in one comparison; more is a slip of the fingers."""


def parse_seeds(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """'0,1,2' or '0-4' as seeds, each once. Raises BadParameter."""
    seeds: list[int] = []
    for part in value.split(","):
        first, dash, last = (text.strip() for text in part.partition("-"))
        if not first.isdecimal() or (dash and not (last.isdecimal() and int(last) >= int(first))):
            raise click.BadParameter(f"{value!r} is no list of seeds; write for instance 0,1,2 or 0-4", ctx, param)
        seeds += range(int(first), min(int(last or first), int(first) + MOST) + 1)
    if len(seeds) > MOST:
        raise click.BadParameter(f"{value!r} is more than {MOST} seeds", ctx, param)
    return tuple(dict.fromkeys(seeds))


@dataclass(frozen=True)
class Failure:
    """A run that could not be finished, and why."""

    model: str
    seed: int
    error: BaseException
    reason: str


@click.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@dataset_option
@click.option("--seeds", callback=parse_seeds, default="0", show_default=True, metavar="LIST", help="Such as 0,1,2 or 0-4.")
@click.option("--end-to-end", is_flag=True, help="Each model with the input that it prefers, and not all from one frozen backbone.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@source_options
@run_options
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
    markdown: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run each MODEL with each seed, unless that run is there already, and put all in one table.

    All models are fed from one frozen backbone where they can be; --end-to-end lets each have its own way.
    """
    if markdown and as_json:
        raise click.UsageError("--json and --markdown exclude each other")
    models = list(dict.fromkeys(names))
    find_names(models, dataset)
    state.resumes = True
    feed = options.pop("feed") or (None if end_to_end else "frozen")
    winning = overrides(options.pop("backbone"), options.pop("backbone_weights"), feed, options.pop("precision"))
    with redirect_stdout(sys.stderr):  # whatever a plugin prints, standard output is the result's
        results, failures = _run_all(models, dataset, seeds, state, overrides=winning, **options)
    if not results and all(isinstance(f.error, UserError) for f in failures) and len({f.reason for f in failures}) == 1:
        raise failures[0].error  # one mistake of the user's, and it concerns all
    _print(results, failures, markdown=markdown, as_json=as_json)
    for line in told(failures):
        tell(line)
    return 1 if failures else 0


def _run_all(models: Sequence[str], dataset: str, seeds: Sequence[int], state: State, **options: Any) -> tuple[list[Any], list[Failure]]:
    from zslkit import experiment
    from zslkit.progress import reporter_for

    reporter = reporter_for()
    results: list[Any] = []
    failures: list[Failure] = []
    pairs = list(product(models, seeds))
    for count, (model, seed) in enumerate(pairs, start=1):
        reporter.note(f"{model}, seed {seed} ({count} of {len(pairs)})")
        try:
            results.append(experiment.run(model, dataset, seed=seed, reporter=reporter, **options))
        except Exception as error:
            if is_disk_full(error):  # it would stop every other run as well
                raise
            if state.debug:
                traceback.print_exception(error)
            failures.append(Failure(model, seed, error, sentence(error, state)))
    return results, failures


def _print(results: Sequence[Any], failures: Sequence[Failure], *, markdown: bool, as_json: bool) -> None:
    from zslkit.results import tables
    from zslkit.results.comparison import compare as compared
    from zslkit.results.published import published
    from zslkit.results.record import json_summary

    records = [result.record for result in results]
    names = {record.dataset.published_as for record in records}
    blocks = compared(records, [entry for name in sorted(names - {""}) for entry in published(name)])
    if as_json:
        failed = [{"model": f.model, "seed": f.seed, "reason": f.reason} for f in failures]
        runs = [json_summary(result.record, result.folder) for result in results]
        print_json({"blocks": tables.as_json(blocks), "runs": runs, "failures": failed})
    elif blocks and markdown:
        click.echo(tables.markdown(blocks))
    elif blocks:
        print_table(tables.rich_table(blocks))


def told(failures: Iterable[Failure]) -> list[str]:
    """One sentence for each reason, which names every run that it stopped."""
    runs: dict[str, list[str]] = {}
    for failure in failures:
        runs.setdefault(failure.reason, []).append(f"{failure.model} (seed {failure.seed})")
    return [f"{', '.join(who)} failed: {reason}" for reason, who in runs.items()]
