"""`zslkit report`: finished runs as a page for a browser, in a folder that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from zslkit.cli import completers
from zslkit.cli.failure import tell
from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    as_papers_do_option,
    device_option,
    only_datasets_option,
    path_option,
    runs_option,
)
from zslkit.cli.output import echo, print_json, printable, size_words
from zslkit.cli.verb import verb


def _former(args: Sequence[str]) -> Mapping[str, str]:
    """Beside the former --html, --out was the folder of the runs."""
    beside = any(arg.partition("=")[0] == "--html" for arg in args)
    return {"--html": "--out", "--out": "--runs"} if beside else {}


@verb(example="zslkit report --out page", formerly=_former)
@click.argument("words", metavar="[RUN]...", nargs=-1, shell_complete=completers.runs_and_tags)
@path_option(
    "--out",
    "target",
    required=True,
    help="Write the page into this folder: a new one, or a former report.",
)
@only_datasets_option
@runs_option
@as_papers_do_option
@click.option("--title", default="", show_default=False, metavar="TEXT", help="The page's title.")
@path_option(
    "--data-root",
    "root",
    help="Folder of the data, or a card FILE.yaml: shows images with wrong answers.",
)
@click.option(
    "--errors",
    type=Whole(min=0, max=100),
    default=12,
    metavar="N",
    help="Images with wrong answers for each model; needs --data-root.",
)
@click.option(
    "--heat-maps",
    type=Whole(min=0, max=100),
    default=0,
    metavar="N",
    help="Show where each model looked in N test images; needs --data-root.",
)
@device_option
def report(
    words: tuple[str, ...],
    target: Path,
    datasets: tuple[str, ...],
    home: Path,
    as_papers_do: bool,
    title: str,
    as_json: bool,
    **pictured: Any,
) -> int:
    """Write a page about finished runs for a browser: open DIR/index.html. Nothing is trained.

    The page shows the runs below --runs, or each RUN that is named: a run folder, a folder of such,
    a pattern in quotes, a tag, or a file that another person made with zslkit runs --export. It has
    the table of zslkit compare, curves, classes, costs, and where each number comes from. --device
    is used for heat maps alone.
    """
    if pictured["heat_maps"] and pictured["root"] is None:
        raise click.UsageError(
            "--heat-maps needs the images: say where the data is with --data-root"
        )
    from zslkit.page.gather import gather
    from zslkit.page.pictures import Pictures
    from zslkit.page.write import check_target, write
    from zslkit.utils.progress import reporter_for

    check_target(target)
    gathered = gather(words, home, datasets)
    written = write(
        gathered,
        target,
        title=title,
        pictures=Pictures(**pictured),
        as_papers_do=as_papers_do,
        reporter=reporter_for(),
        tell=tell,
    )
    rows = sum(len(block.rows) for block in written.blocks)
    picked = sum(len(block.on_test or ()) for block in written.blocks)
    if as_json:
        print_json(
            {
                "page": str(written.index),
                "bytes": written.page_bytes,
                "pictures": written.n_pictures,
                "runs": [str(run.folder) for run in written.runs],
                "blocks": [block.title for block in written.blocks],
                "rows": rows,
                "as_papers_do": picked if as_papers_do else None,
                "left_out": list(written.left_out),
            }
        )
    else:
        shown = f", {_count(written.n_pictures, 'picture')}" if written.n_pictures else ""
        apart = f" and {_count(picked, 'row')} picked on test" if as_papers_do else ""
        counts = (
            f"{_count(len(written.runs), 'run')} in {_count(rows, 'row')}{apart}, "
            f"{size_words(written.page_bytes)}{shown}"
        )
        echo(printable(f"written: {written.index} ({counts})"))
    return 2 if gathered.unread or written.refused else 0


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
