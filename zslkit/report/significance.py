"""Adds bootstrap intervals and pairwise tests to comparison tables, from the scores of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from zslkit.errors import DataError, UserError
from zslkit.evaluation.bootstrap import Resampled, figures, resample
from zslkit.evaluation.outcomes import SAMPLED, Outcomes, outcomes, same_images, together
from zslkit.evaluation.sets import AnsweredSets, TestSets, checked_sets
from zslkit.evaluation.significance import (
    enough_resamples,
    holm,
    mcnemar,
    paired_difference,
    seeds_needed,
    too_few,
)
from zslkit.report.comparison import Block, Row
from zslkit.report.sampling import RowPair, Sampling, sentences_of
from zslkit.runs.folders import Run, load_run

ROUNDING = 0.05
"""Largest difference in H between scores and record, in percent points; below table precision."""


def with_significance(blocks: Iterable[Block], seed: int = 0) -> list[Block]:
    """Add intervals to rows, and tests to pairs of rows.

    Rows need their run folders. Rows without matching scores have no interval and are in no pair;
    notes name them. Notes also say which pairs differ.
    """
    return [_judged(block, seed) for block in blocks]


def run_outcomes(run: Run) -> Outcomes:
    """Right and wrong answers of a finished run, with its own gamma.

    Raises:
        DataError: The scores are missing, damaged or not finite, or do not give the H of the
            record.
    """
    return outcomes_of(run, run_sets(run)[0])


def run_sets(run: Run) -> tuple[TestSets, tuple[str, ...]]:
    """Test sets with memory-mapped scores, and class names, of a finished run.

    Raises:
        DataError: The scores are missing, damaged or not finite.
    """
    try:
        scores = run.scores()
        return checked_sets(*scores.sets()), scores.classes
    except DataError as error:
        where = "" if str(run.folder) in str(error) else f"{run.folder}: "
        raise DataError(f"{where}{error}") from error


def outcomes_of(run: Run, sets: AnsweredSets) -> Outcomes:
    """As `run_outcomes`, for loaded sets.

    Raises:
        DataError: They do not give the figures of the record.
    """
    found = outcomes(sets, run.record.protocol.gamma)
    said = run.record.metrics.model_dump()
    for name, (value, *_) in figures(found).items():
        if abs(float(value) - said[name]) > ROUNDING:
            raise DataError(
                f"{run.folder}: its scores give {name} {float(value):.1f} and its record says "
                f"{said[name]:.1f}; move the folder away and run again"
            )
    return found


@dataclass(frozen=True)
class _Readable:
    """Rows whose runs can all be read.

    Attributes:
        outcomes: Outcomes of these runs.
        columns: Row index -> columns of its runs in `outcomes`, in the order of its seeds.
    """

    outcomes: Outcomes
    columns: dict[int, list[int]]


def _judged(block: Block, seed: int) -> Block:
    readable, faults = _read(block)
    notes = (*block.notes, *faults)
    if readable is None:
        return replace(block, notes=notes)
    places = list(combinations(readable.columns, 2))
    resampled = resample(readable.outcomes, count := enough_resamples(len(places)), seed)
    rows = tuple(
        _with_intervals(row, resampled, readable.columns.get(i)) for i, row in enumerate(block.rows)
    )
    sampling = Sampling(
        count, seed, _pairs(block, readable, resampled, places), too_few(count, len(places))
    )
    return replace(
        block,
        rows=rows,
        notes=(*notes, *sentences_of(sampling, row_names(block))),
        sampling=sampling,
    )


def _read(block: Block) -> tuple[_Readable | None, list[str]]:
    parts: list[Outcomes] = []
    columns: dict[int, list[int]] = {}
    faults = []
    for i, row in enumerate(block.rows):
        if len(row.folders) != row.n:
            faults.append(
                f"{row.label} has no interval and stands in no test: its run folders are not known."
            )
            continue
        try:
            own = [_of(folder, parts) for folder in row.folders]
        except UserError as error:
            faults.append(f"{row.label} has no interval and stands in no test: {error}.")
            continue
        columns[i] = list(range(len(parts), len(parts) + len(own)))
        parts += own
    return (_Readable(together(parts), columns) if parts else None), faults


def _of(folder: str, before: list[Outcomes]) -> Outcomes:
    found = run_outcomes(load_run(Path(folder)))
    if before and not same_images(before[0], found):
        raise DataError(
            f"{folder}: the labels of its test images are not those of the rows before it; were "
            "its scores put there by hand?"
        )
    return found


def _with_intervals(row: Row, resampled: Resampled, columns: list[int] | None) -> Row:
    if columns is None:
        return row
    found = {name: resampled.interval(name, columns) for name in SAMPLED}
    return replace(
        row, intervals={name: (interval.low, interval.high) for name, interval in found.items()}
    )


def _pairs(
    block: Block, readable: _Readable, resampled: Resampled, places: list[tuple[int, int]]
) -> tuple[RowPair, ...]:
    pairs = [_pair(block, readable, resampled, a, b, len(places)) for a, b in places]
    corrected = zip(
        pairs, holm([p.p for p in pairs]), holm([p.mcnemar_p for p in pairs]), strict=True
    )
    return tuple(replace(pair, p_holm=p, mcnemar_p_holm=q) for pair, p, q in corrected)


def _pair(
    block: Block, readable: _Readable, resampled: Resampled, a: int, b: int, of: int
) -> RowPair:
    common = tuple(sorted(set(block.rows[a].seeds) & set(block.rows[b].seeds)))
    left, right = (
        [
            column
            for seed, column in zip(block.rows[i].seeds, readable.columns[i], strict=True)
            if seed in common or not common
        ]
        for i in (a, b)
    )
    difference = paired_difference(resampled, left, right, pairs=of)
    images = mcnemar(readable.outcomes.T1[:, left], readable.outcomes.T1[:, right])
    h = resampled.value["H"]
    seeds = seeds_needed(*(h[readable.columns[i]].tolist() for i in (a, b)))
    return RowPair(
        a=a,
        b=b,
        seeds=common,
        difference=difference.interval.value,
        low=difference.interval.low,
        high=difference.interval.high,
        p=difference.p,
        p_holm=difference.p,
        only_a=images.only_a,
        only_b=images.only_b,
        mcnemar_p=images.p,
        mcnemar_p_holm=images.p,
        seeds_each=seeds.each,
        seeds_said=seeds.sentence,
    )


def row_names(block: Block) -> list[str]:
    """Name of each row in sentences; see `Block.names`."""
    return list(block.names)
