"""`zslkit explain`: which attributes a trained model found in images, where it looked for them, and
how often that was right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    PLACE,
    check_run_and_images,
    debug_option,
    device_option,
    json_option,
    run_data_option,
)
from zslkit.cli.output import echo, print_columns, print_json, print_table, printable
from zslkit.cli.verb import Verb
from zslkit.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from zslkit.explain.explanation import Explanation, Localisation
    from zslkit.explain.heatmaps import HeatmapBlock
    from zslkit.runs.load import LoadedRun

SHOWN = 2
"""Images of each test set that are explained if none is named."""


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names:
        raise click.BadParameter("it takes names of attributes with commas between them")
    return names


@click.command(
    cls=Verb,
    example="zslkit run --model dazle --dataset digits\n"
    "zslkit explain runs/digits/dazle/seed0-*/ --out where.png",
    formerly={"--top": "--top-attributes"},
)
@click.argument("folder", metavar="RUN", type=PLACE, shell_complete=completers.runs)
@click.argument("files", metavar="[IMAGE]...", nargs=-1, type=PLACE)
@click.option(
    "--attributes",
    callback=_names,
    metavar="A,B",
    help="Attributes to show; default: those that added most to the predicted class.",
)
@click.option(
    "--top-attributes",
    "top",
    type=Whole(min=1),
    default=5,
    show_default=True,
    help="How many attributes to show; not used with --attributes.",
)
@click.option(
    "--localise",
    is_flag=True,
    help="Measure how often the strongest cell of an attribute's map lies where the dataset marks "
    "the attribute, over all test images; needs a dataset with such marks, and draws a picture "
    "only "
    "where an IMAGE or --out is given.",
)
@run_data_option
@click.option(
    "--out",
    type=PLACE,
    default=Path("explain.png"),
    show_default=True,
    metavar="FILE.png",
    help="Write the picture into this file.",
)
@device_option
@json_option
@debug_option
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
    _check_out(out)
    check_run_and_images(folder, files)
    asked = ctx.get_parameter_source("out") == click.core.ParameterSource.COMMANDLINE
    from zslkit.explain import explanation
    from zslkit.runs.load import load_with_dataset
    from zslkit.utils.devices import choose_device
    from zslkit.utils.progress import reporter_for

    trained = load_with_dataset(folder, data_root, choose_device(device), reporter_for())
    measured_alone = localise and not files and not asked
    blocks = [] if measured_alone else _explained(trained, files, attributes, top)
    scored = explanation.localisation(trained) if localise else {}
    if blocks:
        from zslkit.explain import heatmaps

        heatmaps.save(heatmaps.draw(blocks, trained.dataset.semantics.names), out)
    if as_json:
        print_json(_data(trained, blocks, scored, out))
    else:
        _print(trained, blocks, scored, out)


def _check_out(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(
            f"--out {out} is no .png; the picture is written as PNG, so name a file like "
            "explain.png"
        )
    if not out.parent.is_dir():
        raise UserError(
            f"--out {out} is in no folder that exists; make {out.parent} or name another place"
        )
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")


def _explained(
    trained: LoadedRun, files: tuple[Path, ...], attributes: tuple[str, ...] | None, top: int
) -> list[HeatmapBlock]:
    from zslkit.explain.heatmaps import blocks_of_photos, blocks_of_test_images

    if files:
        return blocks_of_photos(trained, files, attributes, top)
    return blocks_of_test_images(trained, SHOWN, attributes, top)


def _data(
    trained: LoadedRun, blocks: list[HeatmapBlock], scored: dict[str, Localisation], out: Path
) -> dict[str, Any]:
    from dataclasses import asdict

    from zslkit.explain.explanation import as_data

    names = trained.dataset.semantics.names
    return {
        "model": trained.run.record.model.name,
        "dataset": trained.dataset.name,
        "run_folder": str(trained.run.folder),
        "picture": str(out) if blocks else None,
        "images": [{"image": block.name, **as_data(block.explanation, names)} for block in blocks],
        "localisation": {part: asdict(found) for part, found in scored.items()} or None,
    }


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
        echo(
            f"{chr(10) if blocks else ''}strongest cell in the attribute's place, both test sets "
            f"of {printable(trained.dataset.name)}:"
        )
        print_columns(("part", "right %", "chance %", "cases"), rows)


def _table(trained: LoadedRun, blocks: list[HeatmapBlock]) -> Table:
    from rich.table import Table
    from rich.text import Text

    names, parts = trained.dataset.semantics.names, list(blocks[0].explanation.parts)
    table = Table(*("image", "predicted class", "attribute"))
    for part in parts:
        table.add_column(Text(printable(part)), justify="right")
    for block in blocks:
        head = (printable(block.name), printable(block.explanation.predicted))
        for i, column in enumerate(block.explanation.attributes):
            cells = (
                *(head if i == 0 else ("", "")),
                printable(names[column]),
                *(_given(block.explanation, part, column) for part in parts),
            )
            table.add_row(*map(Text, cells))
        table.add_section()
    return table


def _given(explanation: Explanation, part: str, column: int) -> str:
    given = explanation.parts[part].contributions
    return "-" if given is None else f"{given[column]:+.3f}"
