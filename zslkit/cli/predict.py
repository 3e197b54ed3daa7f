"""`zslkit predict`: the classes of photos of one's own, by a trained model."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from zslkit.cli import completers
from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    PLACE,
    check_run_and_images,
    device_option,
    explained,
    path_option,
    run_argument,
    run_data_option,
)
from zslkit.cli.output import aligned, check_file, opened, printable
from zslkit.cli.verb import verb
from zslkit.errors import DataError, UserError, did_you_mean
from zslkit.utils.printable import escaped

if TYPE_CHECKING:
    from zslkit.explain.prediction import Answer, Prediction
    from zslkit.runs.load_portable import LoadedModel


SIDES = ("all", "seen", "unseen")


class Classes(click.ParamType[Any]):
    """Classes to choose from: a word, or a CSV of new classes."""

    name = "classes"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(SIDES)}|NEW.csv]"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | Path:
        if value in SIDES or isinstance(value, Path):
            return cast(str | Path, value)
        if value.lower().endswith(".csv") or Path(value).is_file():
            return Path(value)
        text = f"{value!r} is neither a CSV file nor one of these{did_you_mean(value, SIDES)}"
        raise click.BadParameter(text, ctx, param)


def _chosen(wanted: Sequence[str | Path]) -> tuple[Any, list[Path]]:
    """The side to choose from, and the files of new classes.

    Raises:
        UserError: Two sides are named, a file is missing, or its classes would be left out.
    """
    sides = list(dict.fromkeys(word for word in wanted if isinstance(word, str)))
    files = [file for file in wanted if isinstance(file, Path)]
    if len(sides) > 1:
        raise UserError(f"--classes takes one of {', '.join(sides)}, and perhaps files; leave one")
    if sides == ["seen"] and files:
        raise UserError(
            f"--classes seen leaves out the classes in {files[0]}, which are unseen; write "
            "--classes unseen or all"
        )
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"--classes: there is no file {missing[0]}; check the path")
    return (sides or ["all"])[0], files


@verb(
    example="zslkit predict runs/cub/eszsl/seed0-*/ photo.jpg holiday/ --top 3",
    formerly={"--output": "--out", "--attributes": "--top-attributes"},
)
@run_argument("folder", "RUN")
@click.argument("places", metavar="IMAGE...", nargs=-1, required=True, type=PLACE)
@click.option(
    "--top", type=Whole(min=1), default=5, help="How many classes to show for each image."
)
@click.option(
    "--classes",
    "wanted",
    type=Classes(),
    multiple=True,
    shell_complete=completers.fixed(*SIDES, files=True),
    help="Classes to choose from; default: all. all: seen and unseen; seen: seen only; unseen: "
    "unseen only, the classical zero-shot task; NEW.csv: also the classes in this file, a row "
    "each, with the attributes of the run in its columns. May be repeated.",
)
@click.option(
    "--top-attributes",
    "attributes",
    type=Whole(min=0),
    default=3,
    help="How many attributes to show for each class.",
)
@explained(
    "--format",
    "form",
    values={
        "table": "aligned columns",
        "csv": "a line for each image and class",
        "json": "the same as --json",
        "jsonl": "a JSON object for each image, on a line of its own",
    },
    default="table",
    help="How to print the classes.",
)
@path_option(
    "--out", "output", metavar="FILE", help="Write into this file; default: standard output."
)
@run_data_option
@device_option
def predict(
    folder: Path,
    places: tuple[Path, ...],
    top: int,
    wanted: tuple[str | Path, ...],
    attributes: int,
    form: str,
    output: Path | None,
    data_root: Path,
    device: str,
    as_json: bool,
) -> None:
    """Name the likeliest classes of each IMAGE, by the model of the run folder RUN.

    IMAGE is a file, or a folder whose images are all read. Scores include the gamma that the run's
    validation picked, if any. Unreadable images in a folder are left out and named; an unreadable
    IMAGE is an error.
    """
    check_file(output)
    check_run_and_images(folder, places)
    among, files = _chosen(wanted)
    from zslkit.explain.prediction import images_of
    from zslkit.explain.prediction import predict as predicted
    from zslkit.runs.load_portable import load_without_dataset
    from zslkit.utils.devices import choose_device
    from zslkit.utils.progress import reporter_for

    reporter = reporter_for()
    found = images_of(places, reporter.note)
    left_out: list[str] = []
    trained = load_without_dataset(folder, data_root, choose_device(device), reporter)
    for file in files:
        trained = trained.with_classes(file, reporter.note)

    def answered() -> Iterator[Prediction]:
        with reporter.phase("predict", total=len(found)) as phase:
            for one in predicted(
                trained, found, top=top, among=among, attributes=attributes, phase=phase
            ):
                if one.fault:
                    reporter.note(f"left out: {one.fault}")
                    left_out.append(one.fault)
                else:
                    yield one
        if len(left_out) == len(found):
            raise DataError(
                f"None of the {len(found)} images can be read; the first of them: {left_out[0]}"
            )

    with opened(output) as stream:
        if as_json or form == "json":
            _json(stream, trained, answered(), left_out)
        else:
            WRITERS[form](stream, trained, answered())
    if left_out:
        click.echo(
            f"{len(left_out)} of {len(found)} images are left out, since they cannot be read",
            err=True,
        )
    if output is not None:
        click.echo(f"written: {printable(str(output))}", err=True)


def _side(trained: LoadedModel, answer: Answer) -> str:
    if answer.name in trained.added:
        return "new"
    return "seen" if answer.seen else "unseen"


def _table(stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction]) -> None:
    """Image by image, as soon as it is answered."""
    header = ("class", "", "share", "score", "attributes that spoke for it")
    for k, one in enumerate(predictions):
        rows = []
        for answer in one.answers:
            spoke = ", ".join(f"{name} {given:+.3g}" for name, given in answer.attributes) or "-"
            figures = f"{100 * answer.share:5.1f} %", f"{answer.score:.4g}"
            rows.append((answer.name, _side(trained, answer), *figures, spoke))
        name = "\n" * (k > 0) + printable(str(one.image))
        print(name, *aligned(header, rows), sep="\n", file=stream, flush=True)


def _csv(stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction]) -> None:
    """A line for each image and class.

    Control codes and bytes that are no UTF-8, in the names of files and classes, are written by
    their numbers: a table goes to terminals too, and is UTF-8.
    """
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(("image", "rank", "class", "side", "score", "share", "attributes"))
    for one in predictions:
        image = escaped(str(one.image))
        for rank, answer in enumerate(one.answers, 1):
            spoke = ";".join(f"{escaped(name)}={given:.6g}" for name, given in answer.attributes)
            side, figures = _side(trained, answer), (repr(answer.score), f"{answer.share:.6g}")
            table.writerow((image, rank, escaped(answer.name), side, *figures, spoke))


def _jsonl(stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction]) -> None:
    """An object for each image, on a line of its own."""
    for one in predictions:
        print(json.dumps(_data(trained, one)), file=stream, flush=True)


def _json(
    stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction], left_out: Sequence[str]
) -> None:
    record = trained.run.record
    whole = {
        "model": record.model.name,
        "dataset": record.dataset.name,
        "run_folder": str(trained.run.folder),
        "gamma": trained.gamma,
        "images": [_data(trained, one) for one in predictions],  # which fills left_out
        "left_out": list(left_out),
    }
    print(json.dumps(whole, indent=2), file=stream)


def _data(trained: LoadedModel, one: Prediction) -> dict[str, Any]:
    classes = [
        {
            "class": answer.name,
            "side": _side(trained, answer),
            "score": answer.score,
            "share": answer.share,
            "attributes": [{"attribute": a, "contribution": c} for a, c in answer.attributes],
        }
        for answer in one.answers
    ]
    return {"image": str(one.image), "classes": classes}


WRITERS = {"table": _table, "csv": _csv, "jsonl": _jsonl}
"""How predictions are told one by one, by --format."""
