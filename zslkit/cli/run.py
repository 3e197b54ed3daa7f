"""`zslkit run`: one model on one dataset, start to end."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from zslkit.cli.failure import State
from zslkit.cli.listing import find_names
from zslkit.cli.options import dataset_option, debug_option, json_option, overrides, run_options, source_options
from zslkit.cli.output import print_json


@click.command()
@click.option("--model", "-m", required=True, metavar="NAME", help="A registered model (zslkit models), or DISTRIBUTION:NAME.")
@dataset_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything that is random.")
@source_options
@run_options
@json_option
@debug_option
@click.pass_obj
def run(
    state: State,
    /,
    model: str,
    dataset: str,
    seed: int,
    data_root: Path,
    settings: tuple[str, ...],
    config: Path | None,
    preset: str | None,
    device: str,
    out: Path,
    again: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train and evaluate one model on one dataset. A run that is there already is shown, not repeated."""
    find_names([model], dataset)
    from zslkit import experiment
    from zslkit.progress import reporter_for
    from zslkit.results.record import json_summary

    state.resumes = True
    with redirect_stdout(sys.stderr):  # whatever a plugin prints, standard output is the result's
        result = experiment.run(
            model,
            dataset,
            seed=seed,
            data_root=data_root,
            settings=settings,
            config=config,
            preset=preset,
            overrides=overrides(**chosen),
            device=device,
            out=out,
            again=again,
            reporter=reporter_for(),
        )
    if as_json:
        print_json(json_summary(result.record, result.folder))
        return
    from zslkit.cli.present import print_run

    print_run(result.record, result.folder, result.reused)
