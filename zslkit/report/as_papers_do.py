"""What rows would be if their epoch or their gamma were picked on the test sets, as many papers do: asked for, marked, and no result.

They are made beside the rows and never among them, so that no ranking, interval or test can meet one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from zslkit.errors import UserError
from zslkit.evaluation.gzsl import Metrics, measure, peak
from zslkit.report.badges import picked_on_test
from zslkit.report.comparison import METRICS, Block, PickedOnTest, Row, Stat, optimism
from zslkit.report.significance import outcomes_of, run_sets
from zslkit.runs.folders import load_run

WATCHED = ("T1", "U", "S", "H")
"""What a training that looks at the test sets (protocol.watch_test) keeps of its best epoch."""


def with_rows_picked_on_test(blocks: Iterable[Block]) -> list[Block]:
    """The blocks, each with what its rows would be if picked on test: by epoch where the runs were watched, by gamma where scores are kept.

    A note names each row of which one cannot be told, and why. Rows need their run folders.
    """
    return [_with(block) for block in blocks]


def _with(block: Block) -> Block:
    found: list[PickedOnTest] = []
    unwatched, notes = [], []
    for row in block.rows:
        if (by_epoch := _by_epoch(row)) is not None:
            found.append(by_epoch)
        else:
            unwatched.append(row.label)
        try:
            found.append(_by_gamma(row))
        except UserError as error:
            notes.append(f"{row.label} has no row with an oracle's gamma: {error}.")
    if unwatched:
        notes.insert(
            0,
            f"No row with an epoch picked on test of {', '.join(unwatched)}: no training that was "
            "watched on test (protocol.watch_test).",
        )
    said = {optimism(row) for row in block.rows}  # now a row says it
    return replace(
        block,
        on_test=tuple(found),
        notes=(*(note for note in block.notes if note not in said), *notes),
    )


def _by_epoch(row: Row) -> PickedOnTest | None:
    """The best H with its U and S, and the best T1 at an epoch of its own; None if some of the runs were not watched."""
    if not all(name in row.optimistic for name in WATCHED):
        return None
    figures = {name: row.optimistic.get(name) for name in METRICS}
    return PickedOnTest(
        row.label,
        picked_on_test(row.made, epoch=True),
        row.seeds,
        figures,
        _added(row, figures),
        folders=row.folders,
    )


def _by_gamma(row: Row) -> PickedOnTest:
    """Each run under the gamma of its own highest H on the test sets. Raises UserError if the scores of one cannot be used."""
    if len(row.folders) != row.n:
        raise UserError("its run folders are not known")
    measured = [_under_oracle(Path(folder)) for folder in row.folders]
    figures = {name: Stat.of([m.figures()[name] for m in measured]) for name in METRICS}
    gamma = Stat.of([m.gamma for m in measured])
    return PickedOnTest(
        row.label,
        picked_on_test(row.made, gamma=True),
        row.seeds,
        figures,
        _added(row, figures),
        gamma,
        row.folders,
    )


def _added(row: Row, figures: Mapping[str, Stat | None]) -> dict[str, float]:
    """By how much each figure stands above the row's own: below it where picking one figure cost another, or validation picked better."""
    return {
        name: stat.mean - row.metrics[name].mean
        for name, stat in figures.items()
        if stat is not None
    }


def _under_oracle(folder: Path) -> Metrics:
    run = load_run(folder)
    sets = run_sets(run)[0]
    outcomes_of(run, sets)  # refuses scores that are not those of the record
    return measure(sets, peak(sets.curve())[0])
