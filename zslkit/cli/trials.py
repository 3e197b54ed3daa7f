"""The points of a run's search, tried at once where the runs of a comparison would be."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from zslkit.cli.failure import State
from zslkit.cli.spread import Spread, answers
from zslkit.errors import UserError
from zslkit.utils import distributed

if TYPE_CHECKING:
    from zslkit.training.search import Point, TrialExecutor, TrialResult


def tries_of(arguments: Mapping[str, Any], spread: Spread, state: State) -> TrialExecutor | None:
    """What experiment.run tries the points of its search with; None: itself, one after another.

    arguments: those of the run, plain data all of them.
    """
    if distributed.launched() or (
        spread.backend == "local" and spread.processes(str(arguments["device"])) == 1
    ):
        return None
    return lambda points: _tried(points, arguments, spread, state)


def check_search(arguments: Mapping[str, Any]) -> None:
    """Raises UserError if the run searches nothing, so that there is nothing to spread."""
    from zslkit.runs.plan import make_plan

    plan = make_plan(
        arguments["model"],
        arguments["dataset"],
        **{k: arguments[k] for k in ("settings", "config", "preset", "overrides")},
    )
    if not (plan.protocol.tune and plan.model_class.search):
        why = (
            f"{plan.entry.name} declares no grid"
            if plan.protocol.tune
            else "without --tune this run searches nothing"
        )
        raise UserError(
            f"--jobs and --backend spread the points of a search, and {why}; leave them away, or "
            "use zslkit compare for many runs"
        )


def _tried(
    points: Sequence[Point], arguments: Mapping[str, Any], spread: Spread, state: State
) -> Iterator[tuple[int, TrialResult]]:
    """Raises the error of the first point that fails for another reason than its training."""
    from zslkit.training.search import TrialResult

    with closing(answers([arguments] * len(points), spread, state.debug, points)) as coming:
        for answer in coming:
            if answer.figures is None:
                if answer.trace:
                    print(answer.trace, file=sys.stderr)
                raise answer.error()
            yield answer.number, TrialResult(answer.figures, answer.sentence)
