"""The options that several commands share: one spelling, one meaning, one text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from zslkit.cli import completers
from zslkit.cli.numbers import Whole
from zslkit.cli.verb import refuse, used
from zslkit.errors import UserError, listed

F = TypeVar("F", bound=Callable[..., Any])
PLACE: Any = click.Path(path_type=Path)
DTYPES = {
    "float16": "half the room",
    "bfloat16": "half the room, for values too large for float16, but coarser",
    "float32": "exact",
}
"""Types of stored features."""


class _Choice(click.Choice[str]):
    """A choice that takes former spellings of its values, with a note on standard error."""

    def __init__(self, values: Iterable[str], former: Mapping[str, str]) -> None:
        super().__init__(list(values))
        self.former = former

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.former:
            option = param.opts[0] if param else ""
            used(f"{option} {value}".strip(), f"{option} {self.former[value]}".strip())
            value = self.former[value]
        return super().convert(value, param, ctx)


def explained(
    *names: str,
    values: Mapping[str, str],
    help: str,
    former: Mapping[str, str] | None = None,
    **more: Any,
) -> Callable[[F], F]:
    """An option that takes one of a few values, each with its meaning in the help.

    Args:
        values: Value -> its meaning.
        former: Former spelling of a value -> its spelling now.
        more: As of click.option.
    """
    listed = "; ".join(f"{value}: {meaning}" for value, meaning in values.items())
    return click.option(
        *names, type=_Choice(values, former or {}), help=f"{help} {listed}.", **more
    )


def flag(name: str, help: str, parameter: str | None = None) -> Callable[[F], F]:
    """An option without a value."""
    return click.option(*filter(None, (name, parameter)), is_flag=True, help=help)


def path_option(*names: str, help: str, metavar: str = "DIR", **more: Any) -> Callable[[F], F]:
    """An option that takes a path; more: as of click.option."""
    return click.option(*names, type=PLACE, metavar=metavar, help=help, **more)


def run_argument(name: str, metavar: str, **more: Any) -> Callable[[F], F]:
    """An argument that takes run folders; more: as of click.argument."""
    return click.argument(name, metavar=metavar, type=PLACE, shell_complete=completers.runs, **more)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator; the help lists them in this order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


deterministic_option = flag(
    "--deterministic", "Use deterministic algorithms only; fails where none exists."
)
dataset_option = click.option(
    "--dataset",
    "-d",
    default="digits",
    metavar="NAME",
    shell_complete=completers.datasets,
    help="A registered dataset (zslkit datasets), or a card FILE.yaml.",
)
only_datasets_option = click.option(
    "--dataset",
    "-d",
    "datasets",
    multiple=True,
    metavar="NAME",
    shell_complete=completers.datasets,
    help="Only runs on this dataset; may be repeated.",
)
device_option = click.option(
    "--device",
    default="auto",
    metavar="NAME",
    shell_complete=completers.devices,
    help="Where to compute. auto: the first GPU, else the processor; cpu; cuda; cuda:1: the second "
    "GPU; mps: the GPU of a Mac.",
)
data_root_option = path_option("--data-root", default=Path("data"), help="Folder of the data.")
run_data_option = path_option(
    "--data-root",
    default=Path("data"),
    help="Folder of the data; or the card FILE.yaml that describes the run's dataset.",
)
"""For commands that open a finished run again."""
out_option = path_option(
    "--out",
    default=Path("runs"),
    help="Write the run folders here; finished runs are looked for here too.",
)
"""For commands that make runs. In every command, --out is where the command writes."""
runs_option = path_option(
    "--runs",
    "home",
    default=Path("runs"),
    help="Read the run folders here: the --out of run, compare and study.",
)
"""For commands that read finished runs."""
set_option = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completers.settings,
    help="One setting, such as train.epochs=5; may be repeated. zslkit models NAME lists them.",
)
config_option = path_option("--config", metavar="FILE", help="YAML file of settings.")
reuse_changed_option = flag(
    "--reuse-changed",
    "Show a finished run even if the model's source has changed since; default: run it again.",
)
tracker_option = click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="NAME",
    shell_complete=completers.trackers,
    help="A registered tracker (zslkit trackers) that shows the progress of the run; may be "
    "repeated. Does not affect results.",
)
as_papers_do_option = flag(
    "--as-papers-do",
    "Also show what picking epoch or gamma on the test sets would give: apart from the "
    "results, and marked. Missing runs score the test sets after every epoch.",
)
backbone_options = together(
    click.option(
        "--backbone",
        metavar="NAME",
        help="timm model that makes the features; default: the dataset's.",
    ),
    click.option(
        "--backbone-weights",
        metavar="WHICH",
        shell_complete=completers.fixed("auto", "hub", "offline", "trainval", "random", files=True),
        help="Weights of the backbone. auto: offline if that extra is installed, else hub; "
        "hub: timm's pretrained weights, downloaded once; offline: ImageNet weights of the "
        "extra zslkit[offline]; trainval: trained here on the trainval images; random: "
        "untrained; or a file.",
    ),
    explained(
        "--feature-precision",
        values={"float32": "exact", "bfloat16": "faster, slightly different features"},
        help="Floating-point type in which a frozen backbone computes the features.",
    ),
)
"""How features are extracted: `data prepare` and runs with the same options share a store."""
_PRESET = (
    "Settings that the model brings under DATASET-NAME for the dataset of the run, or under NAME "
    "(zslkit models NAME lists them); default: those of the dataset's name, else those named "
    "default, if there are any."
)
_inputs = together(
    backbone_options,
    explained(
        "--input",
        "feed",
        values={
            "auto": "what the model prefers",
            "pooled": "one feature vector an image",
            "map": "a feature map an image",
            "image": "pixels, and the backbone is trained too",
            "frozen": "what the model prefers of pooled and map",
        },
        help="Input of the model.",
    ),
    explained(
        "--precision",
        values={"float32": "exact", "bfloat16": "half the memory, faster on a GPU"},
        help="Floating-point type used in training.",
    ),
    flag("--tune", "Search the grid that the model declares on validation folds first."),
)
_preset = partial(click.option, "--preset", shell_complete=completers.presets)
source_options, table_source_options = (
    together(data_root_option, set_option, config_option, preset, _inputs)
    for preset in (
        _preset(metavar="NAME", help=_PRESET),
        _preset(
            metavar="NAME",
            multiple=True,
            help=f"{_PRESET} MODEL:NAME is for one model, and may be given for several.",
        ),
    )
)
"""Where data and settings come from, of one model (`run`, `config`) and of several (`compare`)."""
run_options = together(
    device_option,
    deterministic_option,
    out_option,
    tracker_option,
    flag(
        "--again", "Run even if the same run is there already; default: run only what is missing."
    ),
    reuse_changed_option,
    flag("--no-run", "Train nothing; show finished runs only."),
)
"""Where and how to compute: what `run` and `compare` share beyond source_options."""
spread_options = together(
    click.option(
        "--jobs",
        type=Whole(min=1),
        metavar="N",
        help="Processes at once; default: one for each CUDA device, else 1.",
    ),
    explained(
        "--backend",
        values={
            "local": "processes of this machine",
            "dask": "workers of a Dask cluster",
            "ray": "workers of a Ray cluster",
        },
        default="local",
        help="Where the processes are.",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="Address of the cluster, such as tcp://HOST:8786."
    ),
)
"""Where many runs are made; `zslkit.cli.spread.Spread` reads them."""


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """'a,b' as names, for the option called as what they name; None stays None."""
    found = tuple(filter(None, map(str.strip, (value or "").split(","))))
    if value is not None and not found:
        raise click.BadParameter(f"it takes names of {param.name} with commas between them")
    return None if value is None else found


def check_run_and_images(run: Path, images: Sequence[Path]) -> None:
    """Check what a command about a run and images names, before anything is loaded.

    Raises:
        UserError: There is no such run or image, or a second run stands among the images, such as
            from a pattern of the shell; names all that is wrong.
    """
    from zslkit.runs.folders import load_run

    _check_one_run(run, images)
    faults = []
    try:
        load_run(run)
    except UserError as error:
        faults.append(error)
    if missing := [str(image) for image in images if not image.exists()]:
        faults.append(UserError(f"There is no image {listed(missing)}; check the path"))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise UserError(". ".join(map(str, faults)))


def _check_one_run(run: Path, others: Iterable[Path]) -> None:
    second = next((one for one in others if one.is_dir() and (one / "record.json").is_file()), None)
    if second is not None:
        raise UserError(
            f"This command takes one run, and {run} and {second} are two; name one of them"
        )


def check_policy(again: bool, no_run: bool, reuse_changed: bool) -> None:
    """Raises UsageError if runs are asked for both always and never."""
    taken = "--again runs always and --reuse-changed takes what is there; choose one of them"
    never = "--again runs always and --no-run never; choose one of them"
    refuse((again and reuse_changed, taken), (again and no_run, never))


SETTINGS = {
    "backbone": "features.backbone",
    "backbone_weights": "features.weights",
    "feed": "features.input",
    "feature_precision": "features.precision",
    "dtype": "features.dtype",
    "skip_bad": "features.skip_bad",
    "precision": "precision",
    "tune": "protocol.tune",
    "watch_test": "protocol.watch_test",
}
"""Parameter -> the setting that it stands for."""


def overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options that stand for settings out of `options`: nested values that win over all
    others."""
    from zslkit.config.merge import nested

    given = {key: options.pop(name, None) for name, key in SETTINGS.items()}
    return nested({key: value for key, value in given.items() if value not in (None, False)})
