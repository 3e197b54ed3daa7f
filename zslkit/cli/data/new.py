"""`zslkit data new`: a card and a table to fill in for a folder of images, and what they still
lack."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli.listing import contract_rule, lines
from zslkit.cli.numbers import Real, Whole
from zslkit.cli.options import PLACE
from zslkit.cli.output import echo, print_json, printable
from zslkit.cli.verb import verb
from zslkit.errors import listed
from zslkit.registry import MODELS

if TYPE_CHECKING:
    from zslkit.dataset import Dataset


@verb(example='zslkit data new photos --attributes "red,striped,edible"')
@click.argument("folder", type=PLACE)
@click.option(
    "--name", metavar="NAME", help="Name of the dataset and of its files; default: the folder's."
)
@click.option(
    "--attributes",
    metavar="A,B,C",
    help="Attributes, the columns of the table; default: three examples to rename.",
)
@click.option(
    "--unseen-share",
    type=Real(0, 1, min_open=True, max_open=True),
    default=0.25,
    help="Share of the classes that are unseen.",
)
@click.option("--seed", type=Whole(min=0), default=0, help="Seed of the choice of unseen classes.")
def new(folder: Path, attributes: str | None, as_json: bool, **options: Any) -> int:
    """Write a card and a table to fill in for FOLDER, which holds a folder of images for each
    class.

    FOLDER may also be a CSV with the columns path, label and, where wanted, split.

    Fill in the table, and give the same command again: it says what is still missing. NAME.yaml and
    NAME.csv are written beside FOLDER; existing files are read and never changed. No code is
    needed; for a Python package with a dataset, use zslkit new dataset.
    """
    from zslkit.acquire.new import draft
    from zslkit.acquire.new_review import review

    columns = [] if attributes is None else attributes.split(",")
    made = draft(folder, attributes=columns, **options)
    found = review(made.card)
    command = f"zslkit run --model {_model()} --dataset {shlex.quote(str(made.card))}"
    code = 0 if found.dataset is not None or made.written else 2
    data = found.dataset
    if as_json:
        print_json(
            {
                "card": made.card,
                "table": made.table,
                "written": list(made.written),
                "ready": data is not None,
                "problems": list(found.problems),
                "remarks": list(found.remarks),
                "notes": [] if data is None else list(data.notes),
                "command": None if data is None else command,
            }
        )
        return code
    for path in (made.card, made.table):
        state = "written" if path in made.written else "there already, left as it is"
        echo(f"{printable(str(path))}: {state}")
    if data is None:
        for problem in found.problems:
            echo(f"to do: {printable(problem)}")
        echo("Then give the same command again.")
        return code
    for word, said in (("remark", found.remarks), ("note", data.notes)):
        for text in said:
            echo(f"{word}: {printable(text)}")
    echo(_size(data))
    echo(f"ready: {printable(command)}")
    return code


def _size(data: Dataset) -> str:
    parts = {part: len(index) for part, index in data.split.parts().items()}
    unseen = [c for c, seen in zip(data.classes, data.seen, strict=True) if not seen]
    return (
        f"{len(data.classes)} classes, unseen: {listed([*map(printable, unseen)])}; "
        f"{parts['trainval']} images to train on, {parts['test_seen']} and {parts['test_unseen']} "
        "to test on seen and unseen classes"
    )


def _model() -> str:
    """A model that needs nothing but pooled features: the least that any dataset has."""
    fit = (
        line.entry.name
        for line in lines(MODELS, contract_rule)
        if not (line.fault or line.remark or line.get("needs"))
        and line.get("inputs").startswith("pooled")
    )
    return next(fit, "NAME")
