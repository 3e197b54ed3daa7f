"""`zslkit predict`: the classes of photos of one's own, by a trained model."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from zslkit.cli import completers
from zslkit.cli.classes import SIDES, Classes, chosen
from zslkit.cli.numbers import Whole
from zslkit.cli.options import (
    PLACE,
    check_run_and_images,
    debug_option,
    device_option,
    explained,
    json_option,
    run_data_option,
)
from zslkit.cli.output import aligned, printable, reader_there, results
from zslkit.cli.verb import Verb
from zslkit.errors import DataError, UserError
from zslkit.utils.printable import escaped

if TYPE_CHECKING:
    from zslkit.explain.prediction import Answer, Prediction
    from zslkit.runs.load_portable import LoadedModel


@click.command(
    cls=Verb,
    example="zslkit predict runs/cub/eszsl/seed0-*/ photo.jpg holiday/ --top 3",
    formerly={"--output": "--out", "--attributes": "--top-attributes"},
)
@click.argument("folder", metavar="RUN", type=PLACE, shell_complete=completers.runs)
@click.argument("places", metavar="IMAGE...", nargs=-1, required=True, type=PLACE)
@click.option(
    "--top",
    type=Whole(min=1),
    default=5,
    show_default=True,
    help="How many classes to show for each image.",
)
@click.option(
    "--classes",
    "wanted",
    type=Classes(),
    multiple=True,
    shell_complete=completers.fixed(*SIDES, files=True),
    help="Classes to choose from; default: all. all: seen and unseen; seen: seen only; unseen: "
    "unseen only, the classical zero-shot task; NEW.csv: also the classes in this file, a row "
    "each, "
    "with the attributes of the run in its columns. May be repeated.",
)
@click.option(
    "--top-attributes",
    "attributes",
    type=Whole(min=0),
    default=3,
    show_default=True,
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
    show_default=True,
    help="How to print the classes.",
)
@click.option(
    "--out",
    "output",
    type=PLACE,
    metavar="FILE",
    help="Write into this file; default: standard output.",
)
@run_data_option
@device_option
@json_option
@debug_option
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
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise UserError(
            f"--out {output} is a folder or lies in none that exists; name a file in a folder that "
            "is there"
        )
    check_run_and_images(folder, places)
    among, files = chosen(wanted)
    from zslkit.explain.prediction import images_of
    from zslkit.explain.prediction import predict as predicted
    from zslkit.runs.load_portable import load_without_dataset
    from zslkit.utils.devices import choose_device
    from zslkit.utils.progress import reporter_for

    reporter, own = reporter_for(), results()
    found = images_of(places, reporter.note)
    write = WRITERS["json" if as_json else form]
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

    with _opened(output, own) as stream, reader_there():
        write(stream, trained, answered(), left_out)
    if left_out:
        click.echo(
            f"{len(left_out)} of {len(found)} images are left out, since they cannot be read",
            err=True,
        )
    if output is not None:
        click.echo(f"written: {printable(str(output))}", err=True)


@contextmanager
def _opened(output: Path | None, own: TextIO) -> Iterator[TextIO]:
    """Standard output, or a file that appears when it is whole."""
    if output is None:
        yield own
        return
    from zslkit.utils.files import replacing

    with replacing(output) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def _side(trained: LoadedModel, answer: Answer) -> str:
    if answer.name in trained.added:
        return "new"
    return "seen" if answer.seen else "unseen"


def _table(
    stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction], left_out: Sequence[str]
) -> None:
    """Image by image, as soon as it is answered."""
    for k, one in enumerate(predictions):
        lines = [("class", "", "share", "score", "attributes that spoke for it")]
        for answer in one.answers:
            spoke = ", ".join(f"{name} {given:+.3g}" for name, given in answer.attributes) or "-"
            lines.append(
                (
                    answer.name,
                    _side(trained, answer),
                    f"{100 * answer.share:5.1f} %",
                    f"{answer.score:.4g}",
                    spoke,
                )
            )
        print(
            "\n" * (k > 0) + printable(str(one.image)),
            *aligned(lines[0], lines[1:]),
            sep="\n",
            file=stream,
            flush=True,
        )


def _csv(
    stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction], left_out: Sequence[str]
) -> None:
    """A line for each image and class.

    Control codes and bytes that are no UTF-8, in the names of files and classes, are written by
    their numbers: a table goes to
    terminals too, and is UTF-8.
    """
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(("image", "rank", "class", "side", "score", "share", "attributes"))
    for one in predictions:
        for rank, answer in enumerate(one.answers, 1):
            spoke = ";".join(f"{escaped(name)}={given:.6g}" for name, given in answer.attributes)
            table.writerow(
                (
                    escaped(str(one.image)),
                    rank,
                    escaped(answer.name),
                    _side(trained, answer),
                    repr(answer.score),
                    f"{answer.share:.6g}",
                    spoke,
                )
            )


def _jsonl(
    stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction], left_out: Sequence[str]
) -> None:
    """An object for each image, on a line of its own."""
    for one in predictions:
        print(json.dumps(_data(trained, one)), file=stream, flush=True)


def _json(
    stream: TextIO, trained: LoadedModel, predictions: Iterable[Prediction], left_out: Sequence[str]
) -> None:
    images = [_data(trained, one) for one in predictions]
    record = trained.run.record
    whole = {
        "model": record.model.name,
        "dataset": record.dataset.name,
        "run_folder": str(trained.run.folder),
        "gamma": trained.gamma,
        "images": images,
        "left_out": list(left_out),
    }
    print(json.dumps(whole, indent=2), file=stream)


def _data(trained: LoadedModel, one: Prediction) -> dict[str, Any]:
    return {
        "image": str(one.image),
        "classes": [
            {
                "class": answer.name,
                "side": _side(trained, answer),
                "score": answer.score,
                "share": answer.share,
                "attributes": [
                    {"attribute": name, "contribution": given} for name, given in answer.attributes
                ],
            }
            for answer in one.answers
        ],
    }


WRITERS: Mapping[
    str, Callable[[TextIO, LoadedModel, Iterable[Prediction], Sequence[str]], None]
] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "jsonl": _jsonl,
}
"""How predictions are told, by --format. The last argument fills while the predictions are read."""
