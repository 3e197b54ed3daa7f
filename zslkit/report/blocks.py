"""The blocks of a comparison of finished runs, as every table, page and notebook shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zslkit.report.as_papers_do import with_rows_picked_on_test
from zslkit.report.block import Block
from zslkit.report.comparison import compare, key_of
from zslkit.report.published import everything
from zslkit.report.significance import with_significance

if TYPE_CHECKING:
    from zslkit.runs.folders import Run
    from zslkit.runs.result import Result


def blocks_of(
    runs: Sequence[Run | Result], as_papers_do: bool = False, strict: bool = False
) -> list[Block]:
    """Blocks of comparable runs with intervals, tests and published rows.

    `as_papers_do` adds rows as selected on test; `strict` separates inductive from class-inductive
    runs.
    """
    records = [run.record for run in runs]
    folders = {key_of(run.record): str(run.folder) for run in runs}
    blocks = with_significance(compare(records, everything(), folders, strict=strict))
    return with_rows_picked_on_test(blocks) if as_papers_do else blocks
