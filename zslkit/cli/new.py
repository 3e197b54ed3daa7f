"""`zslkit new`: packages to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import click

from zslkit.cli.lazy import LazyGroup
from zslkit.cli.options import explained, path_option
from zslkit.cli.output import echo, print_json
from zslkit.cli.verb import verb
from zslkit.registry import DATASETS, MODELS
from zslkit.scaffold import KINDS, Kind, new_dataset, new_model

out_option = path_option(
    "--out", "folder", help="Write the package into this new folder; default: ./NAME."
)


new = LazyGroup(
    "new",
    package="zslkit.cli",
    sections={
        "Commands": {
            "model": "A package with a model that trains as it stands.",
            "dataset": "A package with a dataset that can be tried as it stands.",
        }
    },
    elsewhere={"model": "new:model", "dataset": "new:dataset"},
    help="Write a Python package of your own to start from: it installs, passes its tests and "
    "runs.\n\nFor a dataset without any code, from a folder of images, use zslkit data new.",
    example="zslkit new model my-net",
)


@verb(example="zslkit new model my-net --kind closed-form", formerly={"--to": "--out"})
@click.argument("name")
@explained(
    "--kind",
    values=cast(Mapping[str, str], KINDS),
    default="gradient",
    help="The model to start from.",
)
@out_option
def model(name: str, kind: str, folder: Path | None, as_json: bool) -> None:
    """Write a package with a model NAME: code, a preset for digits, and tests against the
    contract."""
    folder = folder or Path(name)
    written = new_model(name, folder, MODELS, cast(Kind, kind))
    steps = [
        f"pip install -e {folder}",
        f"zslkit check {name}",
        f"zslkit run --model {name} --dataset digits",
    ]
    _tell("model", name, folder, written, steps, as_json)


@verb(example="zslkit new dataset my-fruits", formerly={"--to": "--out"})
@click.argument("name")
@out_option
def dataset(name: str, folder: Path | None, as_json: bool) -> None:
    """Write a package with a dataset NAME: class attributes, code that reads photos, and tests.

    Use it for a dataset that others install, or that needs code to be read. For a folder of images
    without any code, use zslkit data new.
    """
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
        files = {"folder": str(folder), "files": [path.as_posix() for path in written]}
        print_json({kind: name, **files, "next": steps})
        return
    for path in written:
        echo(str(folder / path))
    echo("next: " + " && ".join(steps))
