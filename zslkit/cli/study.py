"""`zslkit study`: all variants of a study file, as a table and a plot. Finished runs are reused,
missing ones are run."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import click

from zslkit.cli import completers
from zslkit.cli.failure import State
from zslkit.cli.listing import find_names, find_trackers
from zslkit.cli.many import QueuedRun, parse_seeds, run_all, tell_failures
from zslkit.cli.many import as_json as failures_json
from zslkit.cli.options import (
    PLACE,
    data_root_option,
    deterministic_option,
    device_option,
    out_option,
    path_option,
    reuse_changed_option,
    set_option,
    spread_options,
    tracker_option,
)
from zslkit.cli.output import echo, print_columns, print_json, printable
from zslkit.cli.spread import Spread
from zslkit.cli.verb import verb


@verb(
    example="zslkit study zslkit_dedn/studies/ablation.yaml --dataset digits --seeds 0",
    formerly={"--to": "--tables"},
)
@click.argument("file", type=PLACE)
@click.option(
    "--dataset",
    "-d",
    metavar="NAME",
    shell_complete=completers.datasets,
    help="Another dataset than the study's.",
)
@click.option(
    "--seeds",
    callback=parse_seeds,
    metavar="LIST",
    help="Other seeds than the study's, such as 0,1,2 or 0-4.",
)
@data_root_option
@set_option
@device_option
@deterministic_option
@out_option
@tracker_option
@reuse_changed_option
@path_option("--tables", "to", help="Write table and plot here; default: OUT/studies.")
@spread_options
@click.pass_obj
def study(
    state: State,
    /,
    file: Path,
    dataset: str | None,
    seeds: tuple[int, ...] | None,
    settings: tuple[str, ...],
    out: Path,
    to: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Run every variant of the study in FILE with each seed. Finished runs are reused.

    Writes a table (Markdown, JSON) and, if the study asks for one, a plot. FILE is a YAML file
    with a grid of settings, of which compare has only one point.
    """
    from zslkit.config.merge import parse_set
    from zslkit.report import study_report as report
    from zslkit.report.study import line, read_study, variants
    from zslkit.runs import api
    from zslkit.utils.progress import reporter_for

    spread = Spread.taken_from(options)
    plan = read_study(file)
    plan = plan.model_copy(
        update={k: v for k, v in (("dataset", dataset), ("seeds", list(seeds or ()))) if v}
    )
    find_names([plan.model], plan.dataset)
    state.resumes = True
    chosen = variants(plan, parse_set(settings).values)
    find_trackers(options["trackers"])
    shared: dict[str, Any] = {"model": plan.model, "dataset": plan.dataset, "preset": plan.preset}
    for variant in chosen:  # a mistake in the last one is told before the first has cost an hour
        api.resolve(**shared, data_root=options["data_root"], overrides=variant.settings)
    shared |= {"out": out, **options}
    # Two values may be written alike in a label, so a job belongs to its variant by its settings.
    jobs = [
        QueuedRun(variant.label, seed, {**shared, "seed": seed, "overrides": variant.settings})
        for variant, seed in product(chosen, plan.seeds)
    ]
    results, failures = run_all(jobs, state, reporter_for(), spread)
    records = [
        [r.record for job, r in results if job.arguments["overrides"] is variant.settings]
        for variant in chosen
    ]
    lines = [line(variant, found) for variant, found in zip(chosen, records, strict=True) if found]
    missing = [str(failure.job) for failure in failures]
    # Without a single run there is no table, and one of an earlier start stays.
    written = report.write(plan, lines, to or out / "studies", file.stem, missing) if lines else []
    if as_json:
        lacking = {"failures": failures_json(failures, "variant")}
        print_json({**report.as_data(plan, lines), "files": [str(f) for f in written], **lacking})
    elif lines:
        print_columns(report.HEADER, report.cells(lines))
        echo("\n" + printable(f"written: {', '.join(map(str, written))}"))
    return tell_failures(failures)
