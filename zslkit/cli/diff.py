"""`zslkit diff`: two runs against each other, from their settings down to the images whose answer
changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslkit.cli.failure import tell
from zslkit.cli.options import path_option, run_argument
from zslkit.cli.output import check_picture, echo, print_columns, print_json, printable
from zslkit.cli.verb import verb
from zslkit.errors import DataError, UserError

if TYPE_CHECKING:
    from zslkit.dataset import Dataset
    from zslkit.report.difference import Flip, RunOutcome
    from zslkit.runs.folders import Run

SHOWN = 10
"""Classes and images that are shown; --json holds all."""


@verb(
    example="zslkit diff runs/digits/eszsl/seed1-*/ runs/digits/eszsl/seed2-*/",
    formerly={"--sheet": "--out"},
)
@run_argument("first", "RUN_A")
@run_argument("second", "RUN_B")
@path_option("--data-root", help="Folder of the data, or the card FILE.yaml: to name the images.")
@path_option(
    "--out",
    "sheet",
    metavar="FILE.png",
    help="Draw the images whose answer changed into this file.",
)
def diff(
    first: Path, second: Path, data_root: Path | None, sheet: Path | None, as_json: bool
) -> None:
    """Show how RUN_B differs from RUN_A: settings, metrics, and images with another answer.

    The intervals are of B minus A over draws of the test images; they do not cover seeds.
    """
    from zslkit.report import difference
    from zslkit.runs.figures import Contradiction
    from zslkit.runs.folders import load_run

    if sheet is not None:
        check_picture(sheet, "flips.png")
    a, b = load_run(first), load_run(second)
    found = difference.causes(a.record, b.record)
    dataset = _dataset(a, data_root, sheet)
    why = ""
    try:
        outcome = difference.outcome(a, b, dataset)
    except DataError as error:
        if sheet is not None or isinstance(error, Contradiction):
            raise
        outcome, why = None, str(error)
    drawn = None
    if sheet is not None and dataset is not None and outcome is not None and outcome.flips:
        _draw(dataset, outcome.flips, sheet)
        drawn = str(sheet)
    if as_json:
        print_json(
            {
                "a": str(a.folder),
                "b": str(b.folder),
                "differs": {key: {"a": x, "b": y} for key, (x, y) in found.items()},
                "metrics": {"a": a.record.metrics.model_dump(), "b": b.record.metrics.model_dump()},
                "not_paired": why or None,
                "sheet": drawn,
                **({} if outcome is None else _data(outcome)),
            }
        )
        return
    _print_causes(a, b, found)
    if outcome is not None:
        _print_outcome(a, b, outcome)
    if drawn:
        echo("\n" + printable(f"written: {drawn}"))
    elif sheet is not None:
        tell(f"No answer changed, so there is nothing to draw on {sheet}")
    if why:
        tell(why)


def _dataset(run: Run, root: Path | None, sheet: Path | None) -> Dataset | None:
    """The images, if they are wanted or can be had; without --data-root and --out a dataset that is
    not there is no fault."""
    from zslkit.report.difference import dataset_of

    if root is None and sheet is None:
        return None
    dataset = dataset_of(run, root or Path("data"))
    if sheet is not None and dataset.images is None:
        raise UserError(
            f"{dataset.name} has no images here, so no sheet can be drawn; say where they are with "
            "--data-root"
        )
    return dataset


def _draw(dataset: Dataset, flips: Sequence[Flip], sheet: Path) -> None:
    from zslkit.explain.contact_sheet import MOST, save_sheet
    from zslkit.report.difference import image_of

    images = dataset.images
    assert images is not None
    if len(flips) > MOST:
        tell(f"{len(flips)} answers changed, and {sheet} shows the first {MOST}; --json names all")
        flips = flips[:MOST]
    opened = (images.open(image_of(dataset, f.part, f.index)) for f in flips)
    texts = ((f"{f.outcome}: {f.label}", f"A {f.a}", f"B {f.b}") for f in flips)
    save_sheet(zip(opened, texts, strict=True), len(flips), sheet)


def _print_causes(a: Run, b: Run, found: Mapping[str, tuple[Any, Any]]) -> None:
    echo(printable(f"A: {a.folder}"))
    echo(printable(f"B: {b.folder}") + "\n")
    if not found:
        echo("Settings, environment and data are the same.")
        return
    rows = [
        (key, *("-" if value is None else str(value) for value in pair))
        for key, pair in found.items()
    ]
    print_columns(("what differs", "A", "B"), rows)


def _print_outcome(a: Run, b: Run, outcome: RunOutcome) -> None:
    records = a.record.metrics, b.record.metrics
    echo("")
    rows = []
    for name, d in outcome.figures.items():
        values, i = [f"{getattr(m, name):.1f}" for m in records], d.interval
        difference = f"{i.value:+.1f}", f"[{i.low:+.1f}, {i.high:+.1f}]"
        rows.append((name, *values, *difference, f"{d.p:.2g}"))
    print_columns(("", "A", "B", "B - A", "95 % interval", "p"), rows)
    images = outcome.images
    echo(
        f"Unseen images right among the unseen classes in A alone: {images.only_b}, in B alone: "
        f"{images.only_a} (McNemar p {images.p:.2g})"
    )
    changed = [(name, f"{points:+.1f}") for name, points in outcome.per_class if points]
    echo(f"\n{len(changed)} of {len(outcome.per_class)} classes changed{_rest(changed)}")
    if changed:
        print_columns(("class", "points"), changed[:SHOWN])
    echo(f"\n{len(outcome.flips)} images are answered otherwise{_rest(outcome.flips)}")
    if outcome.flips:
        flips = [
            (f.part, str(f.index), f.outcome, f.label, f.a, f.b, f.key or "-")
            for f in outcome.flips[:SHOWN]
        ]
        print_columns(("set", "index", "outcome", "true class", "A", "B", "image"), flips)


def _rest(items: Sequence[object]) -> str:
    return f"; {SHOWN} are shown, --json holds all" if len(items) > SHOWN else ""


def _data(outcome: RunOutcome) -> dict[str, Any]:
    images = outcome.images
    return {
        "difference": {
            name: {**asdict(d.interval), "p": d.p} for name, d in outcome.figures.items()
        },
        "unseen_images": {"only_a": images.only_b, "only_b": images.only_a, "p": images.p},
        "per_class": dict(outcome.per_class),
        "flips": [{**asdict(flip), "outcome": flip.outcome} for flip in outcome.flips],
    }
