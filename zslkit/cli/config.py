"""`zslkit config`: what a run would use, and where each value comes from."""

from __future__ import annotations

from typing import Any

import click

from zslkit.cli import completers
from zslkit.cli.listing import find_names
from zslkit.cli.options import overrides, source_options
from zslkit.cli.output import echo, print_columns, print_json
from zslkit.cli.verb import verb

INPUTS = {
    "pooled": "one vector an image, of a frozen backbone",
    "map": "a feature map an image, of a frozen backbone",
    "image": "pixels: the backbone is trained with the model",
}


@verb(example="zslkit config dazle digits --set train.epochs=5")
@click.argument("model", shell_complete=completers.models)
@click.argument("dataset", default="digits", shell_complete=completers.datasets)
@source_options
def config(model: str, dataset: str, as_json: bool, **options: Any) -> None:
    """Show the settings that a run of MODEL on DATASET would use, and where each value comes from.

    Give the options that you would give to zslkit run; nothing is trained.
    """
    find_names([model], dataset)
    from zslkit.config.merge import flat
    from zslkit.config.wording import shown
    from zslkit.runs import api

    given = {"overrides": overrides(options), **options}
    resolved = api.resolve(model, dataset, **given)
    kind, looked = api.resolve_input(model, dataset, **given)
    rows = [
        (key, value, resolved.origins.get(key, "default"))
        for key, value in flat(resolved.values).items()
    ]
    if as_json:
        settings = {key: {"value": value, "from": origin} for key, value, origin in rows}
        print_json({"settings": settings, "input": kind})
        return
    shown_rows = [(key, shown(value), origin) for key, value, origin in rows]
    print_columns(("setting", "value", "from"), shown_rows)
    where = "" if looked else f", if {dataset} has images: its data is not here"
    echo(f"\ninput: {kind} ({INPUTS[kind]}){where}")
