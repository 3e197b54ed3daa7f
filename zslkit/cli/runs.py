"""`zslkit runs`: the runs that are there, finished or not; tags on them, and removing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.chosen_runs import chosen, export
from zslkit.cli.failure import tell
from zslkit.cli.options import (
    PLACE,
    debug_option,
    explained,
    json_option,
    only_datasets_option,
    runs_option,
)
from zslkit.cli.output import echo, print_columns, print_json, printable, reader_there, results
from zslkit.cli.verb import Verb, used
from zslkit.errors import UserError

if TYPE_CHECKING:
    from zslkit.runs.inventory import InventoryItem


FORMATS = {
    "table": "aligned columns",
    "csv": "a line for each run and figure, of finished runs",
    "parquet": "the same as a Parquet file; needs --out",
    "json": "the same as --json",
}


def _former(args: Sequence[str]) -> dict[str, str]:
    """--out was the folder of the runs, before a file could be written."""
    asked = any(arg.startswith("--format") for arg in args)
    return {} if asked else {"--out": "--runs"}


@click.command(
    cls=Verb,
    example="zslkit runs --model eszsl\n"
    "zslkit runs runs/digits/eszsl/seed0-*/ --tag paper\n"
    "zslkit runs --format csv --out figures.csv\n"
    "zslkit runs --tagged paper --export ours.zip",
    formerly=_former,
)
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=PLACE, shell_complete=completers.runs)
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
@click.option(
    "--tagged",
    metavar="TAG",
    shell_complete=completers.tags,
    help="List only runs with this tag.",
)
@click.option(
    "--tag", metavar="TAG", shell_complete=completers.tags, help="Give each RUN this tag."
)
@click.option(
    "--untag", metavar="TAG", shell_complete=completers.tags, help="Take this tag from each RUN."
)
@click.option(
    "--export",
    "target",
    type=PLACE,
    metavar="FILE",
    help="Write the chosen finished runs into one new zip file for others, without weights; "
    "zslkit compare and report read it.",
)
@click.option("--remove", is_flag=True, help="Remove each RUN with all that is in it; needs --yes.")
@click.option("--yes", is_flag=True, help="Confirm --remove.")
@explained("--format", "form", values=FORMATS, help="How to print the list; default: table.")
@click.option(
    "--out",
    type=PLACE,
    metavar="FILE",
    help="Write csv or parquet into this file; default: standard output.",
)
@runs_option
@json_option
@debug_option
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
    _check_format(long, form, out, as_json, changes=bool(tag or untag or remove or target))
    as_json = as_json or form == "json"
    if tag is not None and not folders:
        used("--tag without RUN", "--tagged")
        tagged, tag = tag, None
    _check(folders, bool(models or datasets or tagged), tag, untag, remove, yes)
    if target is not None:
        if tag is not None or untag is not None or remove:
            raise click.UsageError("--export goes with none of --tag, --untag and --remove")
        export(folders, chosen(home, models, datasets, tagged, []), home, target, as_json)
        return 0
    if not folders:
        return _list(home, models, datasets, tagged, as_json, long, out)
    from zslkit.runs import inventory

    items = [
        inventory.item_at(folder, home) for folder in dict.fromkeys(folders)
    ]  # a mistake in the last one is told before the first is touched
    if remove:
        return _remove(items, yes, as_json)
    if tag is not None or untag is not None:
        items = [_tagged(item, tag, untag) for item in items]
    untrue = _untrue(items)
    if long:
        _write_long(items, untrue, long, out)
    else:
        _print(items, untrue, as_json)
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


def _check_format(
    long: str | None, form: str | None, out: Path | None, as_json: bool, changes: bool
) -> None:
    if as_json and form not in (None, "json"):
        raise click.UsageError("--json and --format exclude each other: choose one")
    if out is not None and not long:
        raise click.UsageError("--out goes with --format csv or parquet")
    if long and changes:
        raise click.UsageError(f"--format {long} goes with neither --tag, --untag nor --remove")
    if long == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE, since it is no text")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise UserError(
            f"--out {out} is a folder or lies in none that exists; "
            "name a file in a folder that is there"
        )


def _write_long(
    items: Sequence[InventoryItem], untrue: Mapping[Path, str], long: str, out: Path | None
) -> None:
    """The figures of the finished runs in long form."""
    from zslkit.report.long_form import long_form, write_csv, write_parquet
    from zslkit.utils.files import replacing

    runs = [item.run for item in items if item.run and item.state != "replaced"]
    rows = list(long_form(run for run in runs if run.folder not in untrue))
    if long == "parquet":
        assert out is not None
        write_parquet(rows, out)
    elif out is not None:
        with replacing(out) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
            write_csv(rows, stream)
    else:
        with reader_there():
            write_csv(rows, results())
    if out is not None:
        tell(f"written: {out}, {len(rows)} rows")
    for reason in untrue.values():
        tell(f"Left out: {reason}")


def _check(
    folders: Sequence[Path],
    filtered: bool,
    tag: str | None,
    untag: str | None,
    remove: bool,
    yes: bool,
) -> None:
    if not folders and (remove or untag is not None):
        raise click.UsageError(
            f"{'--remove' if remove else '--untag'} takes run folders; name them"
        )
    if folders and filtered:
        raise click.UsageError(
            "--model, --dataset and --tagged choose what is listed; leave them away or name no RUN"
        )
    if remove and (tag is not None or untag is not None):
        raise click.UsageError("--remove goes with neither --tag nor --untag")
    if yes and not remove:
        raise click.UsageError("--yes goes with --remove")


def _list(
    home: Path,
    models: Sequence[str],
    datasets: Sequence[str],
    tag: str | None,
    as_json: bool,
    long: str | None,
    out: Path | None,
) -> int:
    from zslkit.runs.inventory import clear_left

    unread: list[str] = []
    items = chosen(home, models, datasets, tag, unread)
    untrue = _untrue(items)
    if long:
        _write_long(items, untrue, long, out)
    else:
        _print(items, untrue, as_json, unread)
    for sentence in unread:
        tell(sentence)
    for place in clear_left(home):
        tell(f"{place} was left by a command that was killed, and is removed")
    if not items and not unread:
        tell(f"There are no runs in {home}")
    return 2 if untrue else 0


def _print(
    items: Sequence[InventoryItem],
    untrue: Mapping[Path, str],
    as_json: bool,
    unread: Sequence[str] = (),
) -> None:
    items = [replace(i, problem=untrue.get(i.folder, i.problem)) for i in items]
    if as_json:
        shown = [_data(item, item.folder not in untrue) for item in items]
        print_json({"runs": shown, "unread": list(unread)})
    elif items:
        header = ("model", "dataset", "seed", "H", "made", "finished (UTC)", "state", "tags", "run")
        print_columns(header, [_cells(item, item.folder not in untrue) for item in items])
        for item in items:
            if item.problem:
                tell(
                    item.problem
                    if str(item.folder) in item.problem
                    else f"{item.folder} is {item.state}: {item.problem}"
                )


def _cells(item: InventoryItem, true: bool) -> tuple[str, ...]:
    from zslkit.report.badges import badges_of

    record = item.run.record if item.run else None
    made = ", ".join(badges_of(record).words) if record else "-"
    h = f"{record.metrics.H:.1f}" if record and true else "-"
    when = record.finished[:16].replace("T", " ") if record else "-"
    return (
        item.model,
        item.dataset,
        str(item.seed),
        h,
        made,
        when,
        item.state,
        ", ".join(item.tags) or "-",
        str(item.folder),
    )


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
        print_json(
            {
                "removed": [str(i.folder) for i in gone],
                "kept": [{"run_folder": str(i.folder), "reason": why} for i, why in kept],
            }
        )
    else:
        for item in gone:
            echo(printable(f"removed {item.folder}"))
    for _, why in kept:
        tell(why)
    return 2 if kept else 0
