"""Many runs one after another: a run that fails is told at the end and stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from zslkit import ranks
from zslkit.cli.failure import State, is_disk_full, sentence, tell_traceback
from zslkit.errors import UserError

if TYPE_CHECKING:
    from zslkit.experiment import Result
    from zslkit.progress import Reporter

MOST = 1000
"""Seeds in one command; more is a slip of the fingers."""


@dataclass(frozen=True)
class Job:
    """One run to be made. name: what it is called in messages; work: makes it or finds it."""

    name: str
    seed: int
    work: Callable[[], Result]


@dataclass(frozen=True)
class Failure:
    """A run that could not be finished, and why."""

    job: Job
    error: BaseException
    reason: str


def parse_seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """'0,1,2' or '0-4' as seeds, each once; None stays None. Raises BadParameter."""
    if value is None:
        return None
    seeds: list[int] = []
    for part in value.split(","):
        first, dash, last = (text.strip() for text in part.partition("-"))
        if not first.isdecimal() or (dash and not (last.isdecimal() and int(last) >= int(first))):
            raise click.BadParameter(f"{value!r} is no list of seeds; write for instance 0,1,2 or 0-4", ctx, param)
        seeds += range(int(first), min(int(last or first), int(first) + MOST) + 1)
    if len(seeds) > MOST:
        raise click.BadParameter(f"{value!r} is more than {MOST} seeds", ctx, param)
    return tuple(dict.fromkeys(seeds))


def run_all(jobs: Sequence[Job], state: State, reporter: Reporter) -> tuple[list[tuple[Job, Result]], list[Failure]]:
    """The results of the jobs that could be done, and the others.

    Raises what fills the disk, since that would stop every other run as well, and a mistake of the user's that concerns all.
    """
    results: list[tuple[Job, Result]] = []
    failures: list[Failure] = []
    for count, job in enumerate(jobs, start=1):
        reporter.note(f"{job.name}, seed {job.seed} ({count} of {len(jobs)})")
        try:
            results.append((job, job.work()))
        except Exception as error:
            if is_disk_full(error) or ranks.several():  # another process may be left waiting for this one
                raise
            if state.debug:
                tell_traceback(error)
            failures.append(Failure(job, error, sentence(error, state)))
    if not results and all(isinstance(f.error, UserError) for f in failures) and len({f.reason for f in failures}) == 1:
        raise failures[0].error
    return results, failures


def told(failures: Iterable[Failure]) -> list[str]:
    """One sentence for each reason, which names every run that it stopped."""
    runs: dict[str, list[str]] = {}
    for failure in failures:
        runs.setdefault(failure.reason, []).append(f"{failure.job.name} (seed {failure.job.seed})")
    return [f"{', '.join(who)} failed: {reason}" for reason, who in runs.items()]


def as_json(failures: Iterable[Failure], name: str) -> list[dict[str, object]]:
    """The failures as plain data; name: the key of a job's name."""
    return [{name: f.job.name, "seed": f.job.seed, "reason": f.reason} for f in failures]
