"""`zslkit data prepare`: images to a feature store, which every run with the same features then finds."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click

from zslkit.cli.failure import State
from zslkit.cli.listing import find_names
from zslkit.cli.numbers import Whole
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import echo, print_json, printable


class Size(click.ParamType[Any]):
    """224, 448x224 (height x width), or none."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
        if value == "none":
            return value
        if found is None or not int(found[1]) or found[2] == "0":
            self.fail(
                f"{value!r} is no size in pixels; write 224, 448x224 (height x width), or none: as they are",
                param,
                ctx,
            )
        return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))


@click.command()
@click.argument("name")
@click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder of the data.",
)
@click.option("--backbone", metavar="NAME", help="timm model; default: the dataset's.")
@click.option(
    "--backbone-weights",
    "weights",
    metavar="WHICH",
    help="auto, hub, offline, trainval, random, or a file.",
)
@click.option(
    "--size", type=Size(), metavar="PIXELS", help="Side, or HEIGHTxWIDTH; none: images as they are."
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16", "float32"]),
    help="Type of the stored features.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Numbers the network computes with.",
)
@click.option(
    "--skip-bad", is_flag=True, default=None, help="Leave out images that cannot be read."
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="One setting, such as features.reduction=16; may be repeated.",
)
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of settings.")
@click.option(
    "--batch",
    type=Whole(min=1),
    metavar="N",
    help="Images at once; default: what suits the device.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@json_option
@debug_option
@click.pass_obj
def prepare(
    state: State,
    /,
    name: str,
    data_root: Path,
    size: Any,
    settings: tuple[str, ...],
    config: Path | None,
    batch: int | None,
    device: str,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Extract the features of dataset NAME (or a card FILE.yaml), so that runs find them. What is there already is not made again.

    A run finds them if its features settings are the same: those given here, by --set features.KEY=VALUE or its own options.
    """
    find_names([], name)
    from zslkit.runs import extraction
    from zslkit.utils.progress import reporter_for

    state.resumes = True
    given = {k: v for k, v in chosen.items() if v is not None} | (
        {} if size is None else {"size": None if size == "none" else size}
    )
    began = time.monotonic()
    done = extraction.prepare_features(
        name,
        data_root=data_root,
        settings=settings,
        config=config,
        overrides=given,
        device=device,
        batch=batch,
        reporter=reporter_for(),
    )
    if as_json:
        print_json({**done.facts(), "seconds": time.monotonic() - began})
        return
    for word, text in done.words().items():
        echo(f"{word + ':':<14}{printable(text)}")
