"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from zslkit.cli.numbers import Whole

F = TypeVar("F", bound=Callable[..., Any])


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.obj.debug = ctx.obj.debug or value


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_debug,
    help="Show the traceback of a failure.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)

deterministic_option = click.option(
    "--deterministic",
    is_flag=True,
    help="Only operations that give the same bits every time; one that has no such form stops the run.",
)

dataset_option = click.option(
    "--dataset",
    "-d",
    default="digits",
    show_default=True,
    metavar="NAME",
    help="A registered dataset (zslkit datasets), or a card FILE.yaml.",
)


reuse_changed_option = click.option(
    "--reuse-changed",
    is_flag=True,
    help="Show a finished run though the model's source has changed since; default: make it anew.",
)

tracker_option = click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="NAME",
    help="A registered tracker (zslkit trackers) that shows how the run goes; may be repeated. It decides nothing of the run.",
)


run_data_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder of the data; or the card FILE.yaml that describes the run's dataset.",
)
"""For commands that open a finished run again."""


def source_options(command: F) -> F:
    """Where data and settings come from: the part that `config` shares with `run` and `compare`."""
    for option in reversed(
        (
            click.option(
                "--data-root",
                type=click.Path(path_type=Path),
                default=Path("data"),
                show_default=True,
                help="Folder of the data.",
            ),
            click.option(
                "--set",
                "settings",
                metavar="KEY=VALUE",
                multiple=True,
                help="One setting, such as train.epochs=5; may be repeated.",
            ),
            click.option(
                "--config", type=click.Path(path_type=Path), help="YAML file of settings."
            ),
            click.option(
                "--preset",
                metavar="NAME",
                help="The model's settings of that name; default: the dataset's, if there are any.",
            ),
            click.option("--backbone", metavar="NAME", help="timm model that makes the features."),
            click.option(
                "--backbone-weights",
                metavar="WHICH",
                help="auto, hub, offline, trainval, random, or a file.",
            ),
            click.option(
                "--input",
                "feed",
                type=click.Choice(["auto", "pooled", "map", "image", "frozen"]),
                help="What the model is fed with.",
            ),
            click.option(
                "--precision",
                type=click.Choice(["float32", "bfloat16"]),
                help="Numbers of the training loop.",
            ),
            click.option(
                "--tune",
                is_flag=True,
                help="Search the model's declared grid on validation folds first.",
            ),
        )
    ):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Where and how to compute: what `run` and `compare` share beyond source_options."""
    for option in reversed(
        (
            click.option(
                "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
            ),
            deterministic_option,
            click.option(
                "--out",
                type=click.Path(path_type=Path),
                default=Path("runs"),
                show_default=True,
                help="Folder of the run folders.",
            ),
            tracker_option,
            click.option(
                "--again",
                is_flag=True,
                help="Run even if the same run is there already; default: run only what is missing.",
            ),
            reuse_changed_option,
            click.option("--no-run", is_flag=True, help="Run nothing, only show what is there."),
        )
    ):
        command = option(command)
    return command


def spread_options(command: F) -> F:
    """Where many runs are made; `spread_of` reads them."""
    for option in reversed(
        (
            click.option(
                "--jobs",
                type=Whole(min=1),
                metavar="N",
                help="Processes at once; default: one for each CUDA device, else 1.",
            ),
            click.option(
                "--backend",
                type=click.Choice(["local", "dask", "ray"]),
                default="local",
                show_default=True,
                help="Processes of this machine, or the workers of a cluster.",
            ),
            click.option(
                "--scheduler",
                metavar="ADDRESS",
                help="Where the cluster is, such as tcp://HOST:8786.",
            ),
        )
    ):
        command = option(command)
    return command


def check_policy(again: bool, no_run: bool, reuse_changed: bool) -> None:
    """Raises UsageError if runs are asked for both always and never."""
    if again and reuse_changed:
        raise click.UsageError(
            "--again runs always and --reuse-changed takes what is there; choose one of them"
        )
    if again and no_run:
        raise click.UsageError("--again runs always and --no-run never; choose one of them")


def overrides(
    backbone: str | None,
    backbone_weights: str | None,
    feed: str | None,
    precision: str | None,
    tune: bool = False,
) -> dict[str, Any]:
    """The settings that have an option of their own, as nested values that win over all others."""
    features = {"backbone": backbone, "weights": backbone_weights, "input": feed}
    chosen: dict[str, Any] = {"features": {k: v for k, v in features.items() if v is not None}}
    if not chosen["features"]:
        del chosen["features"]
    if precision is not None:
        chosen["precision"] = precision
    if tune:
        chosen["protocol"] = {"tune": True}
    return chosen
