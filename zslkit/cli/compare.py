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

FORMATS = ("terminal", "markdown", "latex", "csv", "json")


@click.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@dataset_option
@click.option("--seeds", callback=parse_seeds, default="0", show_default=True, metavar="LIST", help="Such as 0,1,2 or 0-4.")
@click.option("--end-to-end", is_flag=True, help="Each model with the input that it prefers, and not all from one frozen backbone.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to print the table; default: terminal.")
@click.option("--markdown", is_flag=True, help="Short for --format markdown.")
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
    form: str | None,
    markdown: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run each MODEL with each seed, unless that run is there already, and put all in one table.

    All models are fed from one frozen backbone where they can be; --end-to-end lets each have its own way.
    H stands with its 95 % interval over draws of the test images, and the notes say which rows really differ.
    """
    form = _format(form, markdown, as_json)
    models = list(dict.fromkeys(names))
    find_names(models, dataset)
    state.resumes = True
    feed = options.pop("feed") or (None if end_to_end else "frozen")
    winning = overrides(options.pop("backbone"), options.pop("backbone_weights"), feed, options.pop("precision"), options.pop("tune"))
    with redirect_stdout(sys.stderr):  # whatever a plugin prints, standard output is the result's
        results, failures = _run_all(models, dataset, seeds, state, overrides=winning, **options)
    _print(results, failures, form)
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


def _format(form: str | None, markdown: bool, as_json: bool) -> str:
    wanted = dict.fromkeys([*([form] if form else []), *(["markdown"] if markdown else []), *(["json"] if as_json else [])])
    if len(wanted) > 1:
        raise click.UsageError(f"{' and '.join(wanted)} exclude each other: choose one --format (--json and --markdown are short forms)")
    return next(iter(wanted), "terminal")


def _print(results: Sequence[Result], failures: Sequence[Failure], form: str) -> None:
    from zslkit.results import tables
    from zslkit.results.comparison import compare as compared
    from zslkit.results.comparison import key_of
    from zslkit.results.published import published
    from zslkit.results.record import json_summary
    from zslkit.verdicts import judged

    records = [result.record for result in results]
    names = {record.dataset.published_as for record in records}
    folders = {key_of(result.record): str(result.folder) for result in results}
    blocks = judged(compared(records, [entry for name in sorted(names - {""}) for entry in published(name)], folders))
    if form == "json":
        runs = [json_summary(result.record, result.folder) for result in results]
        print_json({"blocks": tables.as_json(blocks), "runs": runs, "failures": failures_json(failures, "model")})
    elif blocks and form == "terminal":
        print_table(tables.rich_table(blocks))
    elif blocks:
        from zslkit.results import export

        write = {"markdown": tables.markdown, "latex": export.latex, "csv": export.as_csv}[form]
        click.echo(write(blocks).rstrip("\n"))
        if form == "csv":  # which has no room for them
            for note in (note for block in blocks for note in block.notes):
                tell(note)
