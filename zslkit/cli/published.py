"""`zslkit published`: results that others have printed, and how sure we are of each."""

from __future__ import annotations

import click

from zslkit.cli import completers
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import print_columns, print_json
from zslkit.cli.verb import Verb


@click.command(cls=Verb, example="zslkit published --dataset cub")
@click.option(
    "--dataset",
    "-d",
    metavar="NAME",
    shell_complete=completers.published,
    help="Show only results on this dataset.",
)
@json_option
@debug_option
def published(dataset: str | None, as_json: bool) -> None:
    """List results that papers have published, each under its own protocol.

    Compare with care: many papers picked their epoch on test images. A question mark means that no
    public source with the figure was found. Protocol, epoch, gamma and resolution are labels given
    here, from the authors' program or the method's description; unknown where neither says.
    For results of your own runs see zslkit runs.
    """
    from zslkit.report.published import published as published_results

    rows = published_results(dataset)
    if as_json:
        from zslkit.report.as_data import published_data

        print_json({"published": [published_data(entry) for entry in rows]})
        return

    def shown(value: float | str | None, doubted: bool) -> str:
        text = "-" if value is None else f"{value:.1f}" if isinstance(value, float) else value
        return f"{text}?" if doubted and value is not None else text

    header = (
        "method",
        "dataset",
        "T1",
        "U",
        "S",
        "H",
        "input",
        "backbone",
        "trained",
        "averaged",
        "protocol",
        "epoch",
        "gamma",
        "resolution",
        "labels from",
        "source",
        "notes",
    )
    print_columns(
        header,
        [
            (
                e.method,
                e.dataset,
                *(shown(value, name in e.unconfirmed) for name, value in e.figures().items()),
                e.input,
                shown(e.backbone, "backbone" in e.unconfirmed),
                "tuned" if e.tuned else "frozen",
                e.averaging,
                *(e.protocol, e.selection, e.calibration, e.resolution),
                e.program or "the method",
                e.source or "none found",
                e.notes,
            )
            for e in rows
        ],
    )
