"""`zslkit explain`: which attributes a trained model found in images, where it looked for them, and
how often that was right."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    PLACE,
    check_run_and_images,
    device_option,
    flag,
    names,
    path_option,
    run_argument,
    run_data_option,
)
from zslkit.cli.output import check_picture, echo, print_columns, print_json, print_table, printable
from zslkit.cli.verb import given, verb

if TYPE_CHECKING:
    from rich.table import Table

    from zslkit.explain.explanation import Localisation
    from zslkit.explain.heatmaps import HeatmapBlock
    from zslkit.runs.load import LoadedRun

SHOWN = 2
"""Images of each test set that are explained if none is named."""


@verb(
    example="zslkit run --model dazle --dataset digits\n"
    "zslkit explain runs/digits/dazle/seed0-*/ --out where.png",
    formerly={"--top": "--top-attributes"},
)
@run_argument("folder", "RUN")
@click.argument("files", metavar="[IMAGE]...", nargs=-1, type=PLACE)
@click.option(
    "--attributes",
    callback=names,
    metavar="A,B",
    help="Attributes to show; default: those that added most to the predicted class.",
)
@click.option(
    "--top-attributes",
    "top",
    type=Whole(min=1),
    default=5,
    help="How many attributes to show; not used with --attributes.",
)
@flag(
    "--localise",
    "Measure how often the strongest cell of an attribute's map lies where the dataset marks "
    "the attribute, over all test images; needs a dataset with such marks, and draws a picture "
    "only where an IMAGE or --out is given.",
)
@run_data_option
@path_option(
    "--out",
    default=Path("explain.png"),
    metavar="FILE.png",
    help="Write the picture into this file.",
)
@device_option
@click.pass_context
def explain(
    ctx: click.Context,
    /,
    folder: Path,
    files: tuple[Path, ...],
    attributes: tuple[str, ...] | None,
    top: int,
    localise: bool,
    data_root: Path,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Draw where the model of RUN looked in each IMAGE, and what each attribute added to the class.

    Without an IMAGE it takes some test images of the run's dataset. Works for models with
    attention maps.
    """
    check_picture(out, "explain.png")
    check_run_and_images(folder, files)
    from zslkit.explain import explanation, heatmaps
    from zslkit.runs.load import load_with_dataset
    from zslkit.utils.devices import choose_device
    from zslkit.utils.progress import reporter_for

    trained = load_with_dataset(folder, data_root, choose_device(device), reporter_for())
    measured_alone = localise and "out" not in given(ctx)
    blocks: list[HeatmapBlock] = []
    if files:
        blocks = heatmaps.blocks_of_photos(trained, files, attributes, top)
    elif not measured_alone:
        blocks = heatmaps.blocks_of_test_images(trained, SHOWN, attributes, top)
    scored = explanation.localisation(trained) if localise else {}
    if blocks:
        heatmaps.save(heatmaps.draw(blocks, trained.dataset.semantics.names), out)
    if as_json:
        known = trained.dataset.semantics.names
        images = [
            {"image": block.name, **explanation.as_data(block.explanation, known)}
            for block in blocks
        ]
        print_json(
            {
                "model": trained.run.record.model.name,
                "dataset": trained.dataset.name,
                "run_folder": str(trained.run.folder),
                "picture": str(out) if blocks else None,
                "images": images,
                "localisation": {part: asdict(found) for part, found in scored.items()} or None,
            }
        )
    else:
        _print(trained, blocks, scored, out)


def _print(
    trained: LoadedRun, blocks: list[HeatmapBlock], scored: dict[str, Localisation], out: Path
) -> None:
    if blocks:
        print_table(_table(trained, blocks))
        echo(printable(f"written: {out}"))
    if scored:
        rows = [
            (part, f"{100 * s.right:.1f}", f"{100 * s.chance:.1f}", str(s.cases))
            for part, s in scored.items()
        ]
        sets = f"both test sets of {printable(trained.dataset.name)}:"
        echo(chr(10) * bool(blocks) + f"strongest cell in the attribute's place, {sets}")
        print_columns(("part", "right %", "chance %", "cases"), rows)


def _table(trained: LoadedRun, blocks: list[HeatmapBlock]) -> Table:
    from rich.table import Table
    from rich.text import Text

    known, parts = trained.dataset.semantics.names, list(blocks[0].explanation.parts)
    table = Table(*("image", "predicted class", "attribute"))
    for part in parts:
        table.add_column(Text(printable(part)), justify="right")
    for block in blocks:
        head = (printable(block.name), printable(block.explanation.predicted))
        for i, column in enumerate(block.explanation.attributes):
            given = [block.explanation.parts[part].contributions for part in parts]
            texts = ["-" if own is None else f"{own[column]:+.3f}" for own in given]
            cells = (*(head if i == 0 else ("", "")), printable(known[column]), *texts)
            table.add_row(*map(Text, cells))
        table.add_section()
    return table
