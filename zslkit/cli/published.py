"""`zslkit published`: results that others have printed, and how sure we are of each."""

from __future__ import annotations

import click

from zslkit.cli import completers
from zslkit.cli.output import print_columns, print_json
from zslkit.cli.verb import verb


@verb(example="zslkit published --dataset cub")
@click.option(
    "--dataset",
    "-d",
    metavar="NAME",
    shell_complete=completers.published,
    help="Show only results on this dataset.",
)
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

    table = [
        {
            "method": e.method,
            "dataset": e.dataset,
            **{name: shown(value, name in e.unconfirmed) for name, value in e.figures().items()},
            "input": e.input,
            "backbone": shown(e.backbone, "backbone" in e.unconfirmed),
            "trained": "tuned" if e.tuned else "frozen",
            "averaged": e.averaging,
            "protocol": e.protocol,
            "epoch": e.selection,
            "gamma": e.calibration,
            "resolution": e.resolution,
            "labels from": e.program or "the method",
            "source": e.source or "none found",
            "notes": e.notes,
        }
        for e in rows
    ]
    print_columns(tuple(table[0]), [tuple(row.values()) for row in table])
