"""`zslkit runs`: the runs that are there, finished or not; tags on them, and removing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.chosen_runs import chosen, export
from zslkit.cli.failure import tell
from zslkit.cli.options import (
    explained,
    flag,
    only_datasets_option,
    path_option,
    run_argument,
    runs_option,
)
from zslkit.cli.output import check_file, echo, opened, print_columns, print_json, printable
from zslkit.cli.verb import refuse, used, verb
from zslkit.errors import UserError

if TYPE_CHECKING:
    from zslkit.runs.inventory import InventoryItem


FORMATS = {
    "table": "aligned columns",
    "csv": "a line for each run and figure, of finished runs",
    "parquet": "the same as a Parquet file; needs --out",
    "json": "the same as --json",
}


tag_option = partial(click.option, metavar="TAG", shell_complete=completers.tags)


def _former(args: Sequence[str]) -> dict[str, str]:
    """--out was the folder of the runs, before a file could be written."""
    asked = any(arg.startswith("--format") for arg in args)
    return {} if asked else {"--out": "--runs"}


@verb(
    example="zslkit runs --model eszsl\n"
    "zslkit runs runs/digits/eszsl/seed0-*/ --tag paper\n"
    "zslkit runs --format csv --out figures.csv\n"
    "zslkit runs --tagged paper --export ours.zip",
    formerly=_former,
)
@run_argument("folders", "[RUN]...", nargs=-1)
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    metavar="NAME",
    shell_complete=completers.models,
    help="List only runs of this model; may be repeated.",
)
@only_datasets_option
@tag_option("--tagged", help="List only runs with this tag.")
@tag_option("--tag", help="Give each RUN this tag.")
@tag_option("--untag", help="Take this tag from each RUN.")
@path_option(
    "--export",
    "target",
    metavar="FILE",
    help="Write the chosen finished runs into one new zip file for others, without weights; "
    "zslkit compare and report read it.",
)
@flag("--remove", "Remove each RUN with all that is in it; needs --yes.")
@flag("--yes", "Confirm --remove.")
@explained("--format", "form", values=FORMATS, help="How to print the list; default: table.")
@path_option(
    "--out", metavar="FILE", help="Write csv or parquet into this file; default: standard output."
)
@runs_option
def runs(
    folders: tuple[Path, ...],
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    tagged: str | None,
    tag: str | None,
    untag: str | None,
    remove: bool,
    yes: bool,
    target: Path | None,
    form: str | None,
    out: Path | None,
    home: Path,
    as_json: bool,
) -> int:
    """List the runs below --runs; with RUN, a folder that the list names, tag, export or remove it.

    The list shows model, dataset, seed, H, finish time and tags. For unfinished runs it says what
    to do. --format csv and parquet give all figures of the finished runs in long form: run, model,
    dataset, seed, metric, value, and how it was made.
    """
    long = form if form in ("csv", "parquet") else None
    changes = tag or untag or remove or target
    if tag is not None and not folders:
        used("--tag without RUN", "--tagged")
        tagged, tag = tag, None
    retags = tag is not None or untag is not None
    refuse(
        (
            as_json and form not in (None, "json"),
            "--json and --format exclude each other: choose one",
        ),
        (out is not None and not long, "--out goes with --format csv or parquet"),
        (long and changes, f"--format {long} goes with neither --tag, --untag nor --remove"),
        (long == "parquet" and not out, "--format parquet needs --out FILE, since it is no text"),
        (not folders and remove, "--remove takes run folders; name them"),
        (not folders and untag is not None, "--untag takes run folders; name them"),
        (
            folders and (models or datasets or tagged),
            "--model, --dataset and --tagged choose what is listed; leave them away or name no RUN",
        ),
        (remove and retags, "--remove goes with neither --tag nor --untag"),
        (yes and not remove, "--yes goes with --remove"),
        (target and (retags or remove), "--export goes with none of --tag, --untag and --remove"),
    )
    check_file(out)
    as_json = as_json or form == "json"
    if target is not None:
        export(folders, chosen(home, models, datasets, tagged, []), home, target, as_json)
        return 0
    from zslkit.runs import inventory

    unread: list[str] = []
    if folders:
        # A mistake in the last one is told before the first is touched.
        items = [inventory.item_at(folder, home) for folder in dict.fromkeys(folders)]
        if remove:
            return _remove(items, yes, as_json)
        if retags:
            items = [_tagged(item, tag, untag) for item in items]
    else:
        items = chosen(home, models, datasets, tagged, unread)
    untrue = _untrue(items)
    if long:
        _write_long(items, untrue, long, out)
    else:
        _print(items, untrue, as_json, unread)
    for sentence in unread:
        tell(sentence)
    if not folders:
        for place in inventory.clear_left(home):
            tell(f"{place} was left by a command that was killed, and is removed")
        if not items and not unread:
            tell(f"There are no runs in {home}")
    return 2 if untrue else 0


def _untrue(items: Sequence[InventoryItem]) -> dict[Path, str]:
    """Run folders whose scores contradict their record, and why; their figures are not shown."""
    from zslkit.runs.figures import Contradiction, check_kept

    found: dict[Path, str] = {}
    for item in items:
        try:
            if item.run is not None:
                check_kept(item.run)
        except Contradiction as error:
            found |= error.reasons
    return found


def _write_long(
    items: Sequence[InventoryItem], untrue: Mapping[Path, str], long: str, out: Path | None
) -> None:
    """The figures of the finished runs in long form."""
    from zslkit.report.long_form import long_form, write_csv, write_parquet

    runs = [item.run for item in items if item.run and item.state != "replaced"]
    rows = list(long_form(run for run in runs if run.folder not in untrue))
    if long == "parquet" and out is not None:
        write_parquet(rows, out)
    else:
        with opened(out) as stream:
            write_csv(rows, stream)
    if out is not None:
        tell(f"written: {out}, {len(rows)} rows")
    for reason in untrue.values():
        tell(f"Left out: {reason}")


def _print(
    items: Sequence[InventoryItem],
    untrue: Mapping[Path, str],
    as_json: bool,
    unread: Sequence[str],
) -> None:
    items = [replace(item, problem=untrue.get(item.folder, item.problem)) for item in items]
    if as_json:
        shown = [_data(item, item.folder not in untrue) for item in items]
        print_json({"runs": shown, "unread": list(unread)})
        for sentence in untrue.values():
            tell(sentence)
    elif items:
        header = ("model", "dataset", "seed", "H", "made", "finished (UTC)", "state", "tags", "run")
        print_columns(header, [_cells(item, item.folder not in untrue) for item in items])
        for item in items:
            if item.problem:
                tell(item.told)


def _cells(item: InventoryItem, true: bool) -> tuple[str, ...]:
    from zslkit.report.badges import badges_of

    h = made = when = "-"
    if item.run:
        record = item.run.record
        h = f"{record.metrics.H:.1f}" if true else "-"
        made = ", ".join(badges_of(record).words)
        when = record.finished[:16].replace("T", " ")
    tags = ", ".join(item.tags) or "-"
    run = (item.model, item.dataset, str(item.seed))
    return (*run, h, made, when, item.state, tags, str(item.folder))


def _data(item: InventoryItem, true: bool) -> dict[str, Any]:
    from zslkit.report.badges import badges_of

    record = item.run.record if item.run else None
    return {
        "model": item.model,
        "dataset": item.dataset,
        "seed": item.seed,
        "state": item.state,
        "metrics": record.metrics.model_dump() if record and true else None,
        "badges": badges_of(record).as_data() if record else None,
        "finished": record.finished if record else None,
        "tags": list(item.tags),
        "to_do": item.problem,
        "run_folder": str(item.folder),
    }


def _tagged(item: InventoryItem, tag: str | None, untag: str | None) -> InventoryItem:
    from zslkit.runs.tags import change_tags

    if item.run is None:
        raise UserError(
            f"{item.folder} is {item.state}, and only finished runs have tags; list them with "
            "`zslkit runs`"
        )
    return replace(item, tags=change_tags(item.folder, tag, untag, tell))


def _remove(items: Sequence[InventoryItem], yes: bool, as_json: bool) -> int:
    from zslkit.runs import inventory

    if not yes:
        names = ", ".join(str(item.folder) for item in items)
        raise UserError(
            f"--remove would remove {len(items)} folder{'s' if len(items) > 1 else ''} for good "
            f"({names}); add --yes to do it"
        )
    gone: list[InventoryItem] = []
    kept: list[tuple[InventoryItem, str]] = []
    for item in items:
        try:
            inventory.remove(item)
            gone.append(item)
        except UserError as error:
            kept.append((item, str(error)))
    if as_json:
        left = [{"run_folder": str(i.folder), "reason": why} for i, why in kept]
        print_json({"removed": [str(i.folder) for i in gone], "kept": left})
    else:
        for item in gone:
            echo(printable(f"removed {item.folder}"))
    for _, why in kept:
        tell(why)
    return 2 if kept else 0
