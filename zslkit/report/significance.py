"""Adds bootstrap intervals and pairwise tests to comparison tables, from the scores of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from zslkit.errors import DataError, UserError
from zslkit.evaluation.bootstrap import Resampled, resample
from zslkit.evaluation.outcomes import SAMPLED, Outcomes, outcomes, same_images, together
from zslkit.evaluation.sets import TestSets, checked_sets
from zslkit.evaluation.significance import (
    enough_resamples,
    holm,
    mcnemar,
    paired_difference,
    seeds_needed,
    too_few,
)
from zslkit.report.block import Block
from zslkit.report.sampling import RowPair, Sampling, sentences_of
from zslkit.runs.checked import state_of
from zslkit.runs.figures import Contradiction, check_figures
from zslkit.runs.folders import Run, load_run

SEED = 0
"""Seed of the resamples."""


def with_significance(blocks: Iterable[Block]) -> list[Block]:
    """Add intervals to rows, and tests to pairs of rows.

    Rows need their run folders. Rows without readable scores have no interval and are in no pair;
    notes name them. Notes also say which pairs differ.

    Raises:
        Contradiction: Runs whose scores do not give the figures of their records.
    """
    read = [(block, _read(block)) for block in blocks]
    if wrong := {place: why for _, (*_, found) in read for place, why in found.items()}:
        raise Contradiction(wrong)
    return [_judged(block, parts, columns, faults) for block, (parts, columns, faults, _) in read]


def run_sets(run: Run, check: bool = True) -> tuple[TestSets, tuple[str, ...]]:
    """Test sets with memory-mapped scores, and class names, of a finished run.

    Raises:
        DataError: The scores are missing, damaged or not finite.
        Contradiction: With `check`, they do not give the figures of the record.
    """
    state = state_of(run)
    try:
        scores = run.scores()
        sets = checked_sets(*scores.sets())
    except DataError as error:
        where = "" if str(run.folder) in str(error) else f"{run.folder}: "
        raise DataError(f"{where}{error}") from error
    if check:
        check_figures(run, sets, scores.classes, state)
    return sets, scores.classes


Columns = dict[int, list[int]]
"""Row index -> columns of its runs in the joined outcomes, in the order of its seeds."""


def _judged(block: Block, parts: list[Outcomes], columns: Columns, faults: Sequence[str]) -> Block:
    block = replace(block, notes=(*block.notes, *faults))
    if not parts:
        return block
    joined, places = together(parts), list(combinations(columns, 2))
    resampled = resample(joined, count := enough_resamples(len(places)), SEED)
    pairs = _pairs(block, joined, columns, resampled, places)
    sampling = Sampling(count, SEED, pairs, too_few(count, len(places)))
    return replace(
        block,
        rows=tuple(
            replace(row, intervals=_intervals(resampled, columns[i])) if i in columns else row
            for i, row in enumerate(block.rows)
        ),
        notes=(*block.notes, *sentences_of(sampling, block.names)),
        sampling=sampling,
    )


def _read(block: Block) -> tuple[list[Outcomes], Columns, list[str], dict[Path, str]]:
    """Outcomes of the rows that can be read, a sentence for each other one, and untrue runs."""
    parts: list[Outcomes] = []
    columns: Columns = {}
    faults = []
    wrong: dict[Path, str] = {}
    for i, row in enumerate(block.rows):
        try:
            if len(row.folders) != row.n:
                raise UserError("its run folders are not known")
            found = [_of(folder, parts, wrong) for folder in row.folders]
            own = [one for one in found if one is not None]
        except UserError as error:
            faults.append(f"{row.label} has no interval and stands in no test: {error}.")
            continue
        columns[i] = list(range(len(parts), len(parts) + len(own)))
        parts += own
    return parts, columns, faults, wrong


def _of(folder: str, before: list[Outcomes], wrong: dict[Path, str]) -> Outcomes | None:
    run = load_run(Path(folder))
    try:
        found = outcomes(run_sets(run)[0], run.record.protocol.gamma)
    except Contradiction as error:
        wrong |= error.reasons
        return None
    if before and not same_images(before[0], found):
        raise DataError(
            f"{folder}: the labels of its test images are not those of the rows before it; were "
            "its scores put there by hand?"
        )
    return found


def _intervals(resampled: Resampled, columns: list[int]) -> dict[str, tuple[float, float]]:
    found = {name: resampled.interval(name, columns) for name in SAMPLED}
    return {name: (interval.low, interval.high) for name, interval in found.items()}


def _pairs(
    block: Block,
    joined: Outcomes,
    columns: Columns,
    resampled: Resampled,
    places: list[tuple[int, int]],
) -> tuple[RowPair, ...]:
    h = resampled.value["H"]

    def pair(a: int, b: int) -> RowPair:
        seeds = [block.rows[i].seeds for i in (a, b)]
        common = set(seeds[0]) & set(seeds[1])
        left, right = (
            [
                column
                for seed, column in zip(own, columns[i], strict=True)
                if seed in (common or own)
            ]
            for i, own in zip((a, b), seeds, strict=True)
        )
        difference = paired_difference(resampled, left, right, pairs=len(places))
        each, said = seeds_needed(*(h[columns[i]].tolist() for i in (a, b)))
        return RowPair(
            a=a,
            b=b,
            seeds=tuple(sorted(common)),
            difference=difference.interval.value,
            low=difference.interval.low,
            high=difference.interval.high,
            p=difference.p,
            p_holm=difference.p,
            images=mcnemar(joined.T1[:, left], joined.T1[:, right]),
            seeds_each=each,
            seeds_said=said,
            leaves_out=bool(common) and set(seeds[0]) != set(seeds[1]),
        )

    pairs = [pair(a, b) for a, b in places]
    corrected = holm([p.p for p in pairs])
    return tuple(replace(p, p_holm=own) for p, own in zip(pairs, corrected, strict=True))
