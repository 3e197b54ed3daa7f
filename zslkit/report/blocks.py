"""The blocks of a comparison of finished runs, as every table, page and notebook shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zslkit.report.as_papers_do import with_rows_picked_on_test
from zslkit.report.block import Block
from zslkit.report.comparison import compare
from zslkit.report.published import everything
from zslkit.report.rows import key_of
from zslkit.report.significance import with_significance
from zslkit.runs.figures import Contradiction, Recorded, one_run_of_several_seeds


def blocks_of(
    runs: Sequence[Recorded],
    as_papers_do: bool = False,
    strict: bool = False,
    on_refused: Callable[[Path, str], None] | None = None,
) -> list[Block]:
    """Blocks of comparable runs with intervals, tests and published rows.

    Args:
        as_papers_do: Add rows as selected on test.
        strict: Separate inductive from class-inductive runs.
        on_refused: Called with folder and reason for each run that is left out, since the scores
            kept with it contradict its record.

    Raises:
        Contradiction: There are such runs, and no `on_refused` or no other run.
    """
    records = [run.record for run in runs]
    folders = {key_of(run.record): str(run.folder) for run in runs}
    try:
        if forged := one_run_of_several_seeds(runs):
            raise Contradiction(forged)
        blocks = with_significance(compare(records, everything(), folders, strict=strict))
    except Contradiction as error:
        sound = [run for run in runs if run.folder not in error.reasons]
        if on_refused is None or not sound:
            raise
        for folder, reason in error.reasons.items():
            on_refused(folder, reason)
        return blocks_of(sound, as_papers_do, strict, on_refused)
    return with_rows_picked_on_test(blocks) if as_papers_do else blocks
