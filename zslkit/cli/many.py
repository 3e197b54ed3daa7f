"""Many runs, one after another or several at once: a run that fails is told at the end and stops no
other."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli.failure import State, is_disk_full, sentence, tell_traceback
from zslkit.cli.spread import Spread, answers
from zslkit.cli.trials import tries_of
from zslkit.errors import UserError
from zslkit.utils import distributed
from zslkit.utils.seeds import MOST_SEED

if TYPE_CHECKING:
    from zslkit.runs.api import Result
    from zslkit.utils.progress import Reporter

MOST = 1000
"""Seeds in one command; more is a slip of the fingers."""


@dataclass(frozen=True)
class QueuedRun:
    """One run to be made. name: what it is called in messages; arguments: keywords of
    experiment.run, plain data that can be sent."""

    name: str
    seed: int
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


@dataclass(frozen=True)
class Failure:
    """A run that could not be finished, and why."""

    job: QueuedRun
    error: BaseException
    reason: str


def parse_seeds(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """'0,1,2' or '0-4' as seeds, each once; None stays None. Raises BadParameter."""
    if value is None:
        return None
    seeds: list[int] = []
    for part in value.split(","):
        first, dash, last = (text.strip() for text in part.partition("-"))
        if not first.isdecimal() or (
            dash and not (last.isdecimal() and _order(last) >= _order(first))
        ):
            raise click.BadParameter(
                f"{value!r} is no list of seeds; write for instance 0,1,2 or 0-4", ctx, param
            )
        if _order(last or first) > _order(str(MOST_SEED)):
            raise click.BadParameter(
                f"a seed is larger than {MOST_SEED}, the largest that torch takes; give smaller "
                "ones",
                ctx,
                param,
            )
        seeds += range(int(first), min(int(last or first), int(first) + MOST) + 1)
    if len(seeds) > MOST:
        raise click.BadParameter(f"{value!r} is more than {MOST} seeds", ctx, param)
    return tuple(dict.fromkeys(seeds))


def _order(digits: str) -> tuple[int, str]:
    """Compares as the number does, however long it is."""
    bare = digits.lstrip("0")
    return len(bare), bare


def run_all(
    jobs: Sequence[QueuedRun], state: State, reporter: Reporter, spread: Spread
) -> tuple[list[tuple[QueuedRun, Result]], list[Failure]]:
    """The results of the jobs that could be done, and the others, both in the order of the jobs.

    Raises what fills the disk, since that would stop every other run as well, and a mistake of the
    user's that concerns all.
    """
    if distributed.launched():  # these processes share each run
        if spread.asked:
            raise UserError(
                "The processes of torchrun share one run at a time; leave --jobs and --backend "
                "away, or start zslkit without it"
            )
        return settled(*_one_by_one(jobs, state, reporter, spread))
    if spread.backend != "local":  # its machines have the data at hand, and this one perhaps not
        return settled(*_at_once(jobs, state, reporter, spread))
    alone = len(jobs) < 2 or spread.processes(str(jobs[0].arguments["device"])) == 1
    there = _there(jobs, reporter, alone)
    missing = [job for number, job in enumerate(jobs) if number not in there]
    made, failures = (
        (_one_by_one if alone else _at_once)(missing, state, reporter, spread)
        if missing
        else ([], [])
    )
    results = {id(job): (job, result) for job, result in made} | {
        id(jobs[n]): (jobs[n], result) for n, result in there.items()
    }
    return settled([results[id(job)] for job in jobs if id(job) in results], failures)


def _there(jobs: Sequence[QueuedRun], reporter: Reporter, alone: bool) -> dict[int, Result]:
    """Number of the job -> its run, of those that are finished. alone: the others are made in this
    process, which says itself why."""
    from zslkit.runs.api import Finder

    finder = Finder()
    found: dict[int, Result] = {}
    notes: dict[str, None] = {}
    for number, job in enumerate(jobs):
        try:
            result, found_notes = finder.find(**job.arguments, reporter=reporter)
        except Exception:  # a plugin may raise anything; making the run tells it
            continue
        if result is not None:
            found[number] = result
        if result is not None or not alone:
            notes |= dict.fromkeys(found_notes)
    for note in notes:
        reporter.note(note)
    for count, (number, result) in enumerate(found.items(), start=1):
        reporter.note(
            f"{jobs[number]}: H {result.record.metrics.H:.1f}, was there ({count} of {len(jobs)})"
        )
    return found


def refused(jobs: Sequence[QueuedRun], state: State) -> list[Failure]:
    """The jobs whose settings are wrong, found without data: to be told before another run has cost
    an hour."""
    from zslkit.runs import api

    errors: dict[str, Exception] = {}
    for job in {job.name: job for job in jobs}.values():
        try:
            api.resolve(**{key: job.arguments[key] for key in _SETTLED if key in job.arguments})
        except Exception as error:  # a plugin may raise anything
            if state.debug:
                tell_traceback(error)
            errors[job.name] = error
    return [
        Failure(job, errors[job.name], sentence(errors[job.name], state))
        for job in jobs
        if job.name in errors
    ]


_SETTLED = ("model", "dataset", "data_root", "settings", "config", "preset", "overrides", "table")
"""What decides the settings of a job, which are those of its name whatever its seed."""


def settled(
    results: list[tuple[QueuedRun, Result]], failures: list[Failure]
) -> tuple[list[tuple[QueuedRun, Result]], list[Failure]]:
    """The same, unless nothing could be done and all for one mistake of the user's, which is raised
    then."""
    if (
        not results
        and all(isinstance(f.error, UserError) for f in failures)
        and len({f.reason for f in failures}) == 1
    ):
        raise failures[0].error
    return results, failures


def _one_by_one(
    jobs: Sequence[QueuedRun], state: State, reporter: Reporter, spread: Spread
) -> tuple[list[tuple[QueuedRun, Result]], list[Failure]]:
    from zslkit.runs import api

    results: list[tuple[QueuedRun, Result]] = []
    failures: list[Failure] = []
    for count, job in enumerate(jobs, start=1):
        reporter.note(f"{job} ({count} of {len(jobs)})")
        try:
            made = api.run(
                **job.arguments, reporter=reporter, executor=tries_of(job.arguments, spread, state)
            )
            results.append((job, made))
        except Exception as error:
            if (
                is_disk_full(error) or distributed.several()
            ):  # another process may be left waiting for this one
                raise
            if state.debug:
                tell_traceback(error)
            failures.append(Failure(job, error, sentence(error, state)))
            # What the error came through would keep the dataset of this run, test labels too,
            # beside the runs that follow.
            traceback.clear_frames(error.__traceback__)
    return results, failures


def _at_once(
    jobs: Sequence[QueuedRun], state: State, reporter: Reporter, spread: Spread
) -> tuple[list[tuple[QueuedRun, Result]], list[Failure]]:
    """Several at a time, in other processes: one line for each that is done."""
    from zslkit.runs.api import Result
    from zslkit.runs.folders import load_run
    from zslkit.utils.progress import duration

    results: dict[int, Result] = {}
    failures: dict[int, Failure] = {}
    with (
        reporter.phase(f"{len(jobs)} runs", total=len(jobs)) as phase,
        closing(answers([job.arguments for job in jobs], spread, state.debug)) as coming,
    ):
        for count, answer in enumerate(coming, start=1):
            job, end = jobs[answer.number], f" ({count} of {len(jobs)})"
            if answer.sentence:
                error = answer.error()
                if answer.disk_full:
                    raise error
                if answer.trace:
                    print(answer.trace, file=sys.stderr)
                failures[answer.number] = Failure(job, error, answer.sentence)
                reporter.note(f"{job}: failed{end}")
            else:
                run = load_run(Path(job.arguments["out"]) / answer.folder)
                results[answer.number] = Result(run.record, run.folder, answer.reused)
                how = "was there" if answer.reused else duration(answer.seconds)
                reporter.note(f"{job}: H {run.record.metrics.H:.1f}, {how}{end}")
            phase.advance()
    return [(jobs[n], results[n]) for n in sorted(results)], [failures[n] for n in sorted(failures)]


def failure_sentences(failures: Iterable[Failure]) -> list[str]:
    """One sentence for each reason, which names every run that it stopped."""
    runs: dict[str, list[str]] = {}
    for failure in failures:
        runs.setdefault(failure.reason, []).append(f"{failure.job.name} (seed {failure.job.seed})")
    return [f"{', '.join(who)} failed: {reason}" for reason, who in runs.items()]


def as_json(failures: Iterable[Failure], name: str) -> list[dict[str, object]]:
    """The failures as plain data; name: the key of a job's name."""
    return [{name: f.job.name, "seed": f.job.seed, "reason": f.reason} for f in failures]
