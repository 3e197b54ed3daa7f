"""`zslkit compare`: several models and seeds in one table. Finished runs are reused, missing ones are run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli.failure import State, tell
from zslkit.cli.listing import find_names
from zslkit.cli.many import Failure, Job, parse_seeds, run_all, told
from zslkit.cli.many import as_json as failures_json
from zslkit.cli.options import dataset_option, debug_option, json_option, overrides, run_options, source_options
from zslkit.cli.output import print_json, print_table

if TYPE_CHECKING:
    from zslkit.experiment import Result


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
    winning = overrides(options.pop("backbone"), options.pop("backbone_weights"), feed, options.pop("precision"), options.pop("tune"))
    with redirect_stdout(sys.stderr):  # whatever a plugin prints, standard output is the result's
        results, failures = _run_all(models, dataset, seeds, state, overrides=winning, **options)
    _print(results, failures, markdown=markdown, as_json=as_json)
    for line in told(failures):
        tell(line)
    return 1 if failures else 0


def _run_all(models: Sequence[str], dataset: str, seeds: Sequence[int], state: State, **options: Any) -> tuple[list[Result], list[Failure]]:
    from zslkit import experiment
    from zslkit.progress import reporter_for

    reporter = reporter_for()
    jobs = [
        Job(model, seed, partial(experiment.run, model, dataset, seed=seed, reporter=reporter, **options))
        for model, seed in product(models, seeds)
    ]
    done, failures = run_all(jobs, state, reporter)
    return [result for _, result in done], failures


def _print(results: Sequence[Result], failures: Sequence[Failure], *, markdown: bool, as_json: bool) -> None:
    from zslkit.results import tables
    from zslkit.results.comparison import compare as compared
    from zslkit.results.published import published
    from zslkit.results.record import json_summary

    records = [result.record for result in results]
    names = {record.dataset.published_as for record in records}
    blocks = compared(records, [entry for name in sorted(names - {""}) for entry in published(name)])
    if as_json:
        runs = [json_summary(result.record, result.folder) for result in results]
        print_json({"blocks": tables.as_json(blocks), "runs": runs, "failures": failures_json(failures, "model")})
    elif blocks and markdown:
        click.echo(tables.markdown(blocks))
    elif blocks:
        print_table(tables.rich_table(blocks))
