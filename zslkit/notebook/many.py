"""Several runs one after another, of which none stops another by failing, and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zslkit.errors import UserError
from zslkit.runs import api
from zslkit.runs.result import Result
from zslkit.utils.files import disk_full
from zslkit.utils.seeds import check_seed


@dataclass(frozen=True)
class Failure:
    """A run that could not be made, and why."""

    model: str
    seed: int
    error: Exception

    def __str__(self) -> str:
        return f"{self.model} (seed {self.seed}) failed: {self.error}"


def run_each(jobs: Sequence[Mapping[str, Any]]) -> list[Result | Failure]:
    """Make or find each run.

    Args:
        jobs: Keyword arguments of `run`, one a run. Settings are resolved before the first run, so
            that a mistake in the last one costs no training.

    Returns:
        The run of each job, or why there is none.

    Raises:
        UserError: A setting is wrong.
        Exception: No run could be made; the first reason.
    """
    for job in jobs:
        api.resolve(**{key: job[key] for key in _SETTLED if key in job})
    outcomes = [_outcome(job) for job in jobs]
    failures = failures_of(outcomes)
    if failures and len(failures) == len(outcomes):
        raise failures[0].error
    return outcomes


def results_of(outcomes: Iterable[Result | Failure]) -> tuple[Result, ...]:
    """The runs."""
    return tuple(one for one in outcomes if isinstance(one, Result))


def failures_of(outcomes: Iterable[Result | Failure]) -> tuple[Failure, ...]:
    """The failures."""
    return tuple(one for one in outcomes if isinstance(one, Failure))


def _outcome(job: Mapping[str, Any]) -> Result | Failure:
    try:
        return api.run(**job)
    except Exception as error:  # a plugin may raise anything
        if disk_full(error):  # would stop every other run as well
            raise
        return Failure(str(job["model"]), int(job["seed"]), error)


_SETTLED = ("model", "dataset", "settings", "config", "preset", "overrides", "table")
"""Arguments that decide the settings of a run."""


def seeds_of(seeds: Sequence[int] | int) -> list[int]:
    """Seeds, each once.

    Raises:
        UserError: One is no whole number, or too large for torch.
    """
    given = seeds if isinstance(seeds, Iterable) else [seeds]
    return list(dict.fromkeys(map(check_seed, given)))


def as_pandas(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a `pandas.DataFrame`.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UserError(
            "A table needs pandas, which is not installed; `pip install pandas`, "
            "or take `rows`, a list of dictionaries"
        ) from error
    return pandas.DataFrame(list(rows))
