"""Rows as if their epoch or gamma had been selected on the test sets, as many papers do.

Shown on request, marked, and kept apart from the rows, so that no ranking, interval or test
contains one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from zslkit.errors import UserError
from zslkit.evaluation.gzsl import Metrics, measure, peak
from zslkit.report.badges import picked_on_test
from zslkit.report.block import METRICS, Block, PickedOnTest, Row, Stat
from zslkit.report.comparison import optimism
from zslkit.report.significance import run_sets
from zslkit.runs.folders import load_run

WATCHED = ("T1", "U", "S", "H")
"""Metrics of the best epoch that a run with protocol.watch_test records."""


def with_rows_picked_on_test(blocks: Iterable[Block]) -> list[Block]:
    """Add to each block its rows as selected on test: by epoch and by gamma.

    By epoch needs runs with protocol.watch_test; by gamma needs run folders with scores. Notes name
    the rows without one and say why.
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
            "watched on test; zslkit run --as-papers-do watches it after every epoch.",
        )
    replaced = {optimism(row) for row in block.rows}  # the new rows contain these numbers
    return replace(
        block,
        on_test=tuple(found),
        notes=(*(note for note in block.notes if note not in replaced), *notes),
    )


def _by_epoch(row: Row) -> PickedOnTest | None:
    """Best H with its U and S, and best T1 at its own epoch; None if a run was not watched."""
    if not all(name in row.optimistic for name in WATCHED):
        return None
    figures = {name: row.optimistic.get(name) for name in METRICS}
    made, added = picked_on_test(row.made, epoch=True), _added(row, figures, plain=True)
    return PickedOnTest(row.label, made, row.seeds, figures, added, folders=row.folders)


def _by_gamma(row: Row) -> PickedOnTest:
    """Each run with the gamma of its highest H on the test sets.

    Raises:
        UserError: The scores of a run are not available.
    """
    if len(row.folders) != row.n:
        raise UserError("its run folders are not known")
    measured = [_under_oracle(Path(folder)) for folder in row.folders]
    figures = {name: Stat.of([m.figures()[name] for m in measured]) for name in METRICS}
    gamma = Stat.of([m.gamma for m in measured])
    made, added = picked_on_test(row.made, gamma=True), _added(row, figures)
    return PickedOnTest(row.label, made, row.seeds, figures, added, gamma, row.folders)


def _added(row: Row, figures: Mapping[str, Stat | None], plain: bool = False) -> dict[str, float]:
    """Difference of each metric, as selected on test, to the row's own.

    It is negative where selecting for one metric costs another, or where validation selected
    better. `plain` figures are uncalibrated; then so are the row's own, of which T1, which knows no
    calibration, and H are known.
    """
    own = {name: stat.mean for name, stat in row.metrics.items()}
    if plain and row.calibrated:
        own = {"T1": own["T1"], "H": row.uncalibrated_H.mean}
    return {
        name: stat.mean - own[name]
        for name, stat in figures.items()
        if stat is not None and name in own
    }


def _under_oracle(folder: Path) -> Metrics:
    sets, _ = run_sets(load_run(folder))
    return measure(sets, peak(sets.curve())[0])
