"""`zslkit report`: finished runs as a page for a browser, in a folder that needs no network."""

from __future__ import annotations

from pathlib import Path

import click

from zslkit.cli.failure import tell
from zslkit.cli.numbers import Whole
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import echo, print_json, printable, size_words


@click.command()
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--html",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to write: new, or a former report.",
)
@click.option(
    "--dataset",
    "-d",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="Only runs on this dataset; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the run folders.",
)
@click.option(
    "--as-papers-do",
    is_flag=True,
    help="Also what picking epoch or gamma on the test sets would print: apart, marked, and no result.",
)
@click.option("--title", default="", metavar="TEXT", help="The page's title.")
@click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    help="Folder of the data, or a card FILE.yaml: shows images answered wrongly.",
)
@click.option(
    "--errors",
    type=Whole(min=0, max=100),
    default=12,
    show_default=True,
    metavar="N",
    help="How many of them for each model, with --data-root.",
)
@click.option(
    "--heat-maps",
    type=Whole(min=0, max=100),
    default=0,
    show_default=True,
    metavar="N",
    help="Show where each model looked in N test images; opens the models, needs --data-root.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="For heat maps: auto, cpu, cuda, cuda:1, mps.",
)
@json_option
@debug_option
def report(
    folders: tuple[Path, ...],
    target: Path,
    datasets: tuple[str, ...],
    out: Path,
    as_papers_do: bool,
    title: str,
    data_root: Path | None,
    errors: int,
    heat_maps: int,
    device: str,
    as_json: bool,
) -> int:
    """Write a page about the run folders RUN, or about all below --out, into the folder DIR; open DIR/index.html.

    It has the figures of `zslkit compare`, curves, classes, costs, and where each number comes from. Nothing is run.
    Nothing on it was picked on test images; --as-papers-do shows in a box of its own what that would have given.
    """
    if heat_maps and data_root is None:
        raise click.UsageError(
            "--heat-maps needs the images: say where the data is with --data-root"
        )
    from zslkit.page.gather import gather
    from zslkit.page.write import Pictures, check_target, write
    from zslkit.utils.progress import reporter_for

    check_target(target)
    gathered = gather(folders, out, datasets)
    pictures = Pictures(data_root, errors, heat_maps, device)
    written = write(
        gathered,
        target,
        title=title,
        pictures=pictures,
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
                "runs": [str(run.folder) for run in gathered.runs],
                "blocks": [block.title for block in written.blocks],
                "rows": rows,
                "as_papers_do": picked if as_papers_do else None,
                "left_out": list(written.left_out),
            }
        )
    else:
        pictured = f", {_count(written.n_pictures, 'picture')}" if written.n_pictures else ""
        apart = f" and {_count(picked, 'row')} picked on test" if as_papers_do else ""
        counts = f"{_count(len(gathered.runs), 'run')} in {_count(rows, 'row')}{apart}, {size_words(written.page_bytes)}{pictured}"
        echo(printable(f"written: {written.index} ({counts})"))
    return 2 if gathered.unread else 0


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
