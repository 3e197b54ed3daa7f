"""`zslkit new`: packages to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

import click

from zslkit.cli.lazy import LazyGroup
from zslkit.cli.listing import DATASETS, MODELS
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import echo, print_json
from zslkit.scaffold import KINDS, Kind, new_dataset, new_model

COMMANDS: Mapping[str, tuple[str, str]] = {
    "model": ("zslkit.cli.new:model", "A package with a model that trains as it stands."),
    "dataset": (
        "zslkit.cli.new:dataset",
        "A package with a dataset that can be tried as it stands.",
    ),
}
"""Command name -> the function that holds it, and its line in the help."""

to_option = click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to make; default: ./NAME.",
)


@click.group(cls=LazyGroup, lazy=COMMANDS, invoke_without_command=True)
@click.pass_context
def new(ctx: click.Context) -> None:
    """A package of your own to start from: it installs, passes its tests and runs as it stands."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(get_args(Kind)),
    default="gradient",
    show_default=True,
    help="What it starts from. " + " ".join(f"{kind}: {words}." for kind, words in KINDS.items()),
)
@to_option
@json_option
@debug_option
def model(name: str, kind: str, folder: Path | None, as_json: bool) -> None:
    """Write a package with a model NAME: the code, a preset for digits, and tests that hold it to the contract."""
    folder = folder or Path(name)
    written = new_model(name, folder, MODELS, cast(Kind, kind))
    steps = [
        f"pip install -e {folder}",
        f"zslkit check {name}",
        f"zslkit run --model {name} --dataset digits",
    ]
    _tell("model", name, folder, written, steps, as_json)


@click.command()
@click.argument("name")
@to_option
@json_option
@debug_option
def dataset(name: str, folder: Path | None, as_json: bool) -> None:
    """Write a package with a dataset NAME: a table of classes, the code that reads it and the photos, made-up pictures, and tests."""
    folder = folder or Path(name)
    written = new_dataset(name, folder, DATASETS)
    module = name.replace("-", "_")
    steps = [
        f"pip install -e {folder}",
        f"python -m {module}.sample data",
        f"zslkit data verify {name}",
    ]
    _tell("dataset", name, folder, written, steps, as_json)


def _tell(
    kind: str, name: str, folder: Path, written: Sequence[Path], steps: Sequence[str], as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                kind: name,
                "folder": str(folder),
                "files": [p.as_posix() for p in written],
                "next": list(steps),
            }
        )
        return
    for path in written:
        echo(str(folder / path))
    echo("next: " + " && ".join(steps))
