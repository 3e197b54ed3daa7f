"""`zslkit data prepare`: images to a feature store, which every run with the same features then
finds."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from zslkit.cli import completers
from zslkit.cli.failure import State
from zslkit.cli.listing import find_names
from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    DTYPES,
    backbone_options,
    config_option,
    data_root_option,
    device_option,
    explained,
    flag,
    overrides,
)
from zslkit.cli.output import echo, print_json, printable
from zslkit.cli.verb import verb


class Size(click.ParamType[Any]):
    """224, 448x224 (height x width), own, or none."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
        if value in ("none", "own"):
            return value
        if found is None or not int(found[1]) or found[2] == "0":
            self.fail(
                f"{value!r} is no size in pixels; write 224, 448x224 (height x width), own: what "
                "the backbone was made for, or none: as they are",
                param,
                ctx,
            )
        return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))


@verb(
    example="zslkit data prepare digits --feature-precision bfloat16\n"
    "zslkit run --model apn --dataset digits --feature-precision bfloat16",
    formerly={"--precision": "--feature-precision"},
)
@click.argument("name", shell_complete=completers.datasets)
@data_root_option
@backbone_options
@click.option(
    "--size",
    type=Size(),
    metavar="PIXELS",
    help="Side of the images, or HEIGHTxWIDTH; own: what the backbone was made for; "
    "none: as they are. In a run: --set features.size.",
)
@explained(
    "--dtype",
    values=DTYPES,
    help="Type of the stored features; in a run: --set features.dtype.",
)
@flag("--skip-bad", "Leave out images that cannot be read; in a run: --set features.skip_bad=true.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completers.feature_settings,
    help="One setting, such as features.reduction=16; may be repeated.",
)
@config_option
@click.option(
    "--batch",
    type=Whole(min=1),
    metavar="N",
    help="Images at once; default: what suits the device.",
)
@device_option
@click.pass_obj
def prepare(state: State, /, name: str, size: Any, as_json: bool, **options: Any) -> None:
    """Extract the features of dataset NAME (or a card FILE.yaml) once, for all models.

    Give a run the same options, and it reads these features; the last line printed is such a run.
    An existing store is not made again.
    """
    find_names([], name)
    from zslkit.runs.extraction import prepare_features
    from zslkit.utils.progress import reporter_for

    state.resumes = True
    features = overrides(options).get("features", {})
    if size is not None:
        features["size"] = None if size == "none" else size
    began = time.monotonic()
    done = prepare_features(name, overrides=features, reporter=reporter_for(), **options)
    if as_json:
        print_json({**done.facts(), "seconds": time.monotonic() - began})
        return
    for word, text in done.words().items():
        echo(f"{word + ':':<14}{printable(text)}")
