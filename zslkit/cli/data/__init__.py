"""`zslkit data`: from nothing to verified features."""

from __future__ import annotations

from collections.abc import Mapping

import click

from zslkit.cli.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "download": (
        "zslkit.cli.data.download:download",
        "Fetch datasets, checked and resumable, into the layout that papers use.",
    ),
    "verify": (
        "zslkit.cli.data.verify:verify",
        "Check a dataset: counts, images, duplicates, leaks, split version.",
    ),
    "info": (
        "zslkit.cli.data.info:info",
        "All that is known of a dataset, and what of it is on disk.",
    ),
    "prepare": (
        "zslkit.cli.data.prepare:prepare",
        "Images to a feature store, once for all models.",
    ),
    "import": ("zslkit.cli.data.import_:import_", "Features of another program become a dataset."),
    "words": ("zslkit.cli.data.words:words", "Word vectors made of a dataset's attribute names."),
    "new": (
        "zslkit.cli.data.new:new",
        "A card and a table to fill in, for a folder of images of your own.",
    ),
    "clean": ("zslkit.cli.data.clean:clean", "What lies in the cache, and removing it."),
}
"""Command name -> the function that holds it, and its line in the help."""


@click.group(
    cls=LazyGroup, lazy=COMMANDS, example="zslkit data info digits", invoke_without_command=True
)
@click.pass_context
def data(ctx: click.Context) -> None:
    """Fetch, prepare, check and describe datasets. zslkit datasets lists their names."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
