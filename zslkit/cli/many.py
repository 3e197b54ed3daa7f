"""Many runs, or points of a run's search, one after another or several at once: a run that fails is
told at the end and stops no other."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli.failure import State, is_disk_full, sentence, tell, tell_traceback
from zslkit.cli.spread import Spread, answers
from zslkit.errors import UserError
from zslkit.utils import distributed
from zslkit.utils.seeds import MOST_SEED

if TYPE_CHECKING:
    from zslkit.runs.api import Result
    from zslkit.training.plan import Plan
    from zslkit.training.search import Point, TrialExecutor, TrialResult
    from zslkit.utils.progress import Reporter

MOST = 1000
"""Seeds in one command; more is a slip of the fingers."""


@dataclass(frozen=True)
class QueuedRun:
    """One run to be made. name: what it is called in messages; arguments: keywords of zslkit.run,
    plain data that can be sent."""

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


Outcome = tuple[list[tuple[QueuedRun, "Result"]], list[Failure]]
"""Results of the jobs that could be done, and the others."""


def parse_seeds(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """'0,1,2' or '0-4' as seeds, each once; None stays None. Raises BadParameter."""
    if value is None:
        return None
    seeds: list[int] = []
    for part in value.split(","):
        first, dash, last = (text.strip() for text in part.partition("-"))
        rising = not dash or (last.isdecimal() and _order(last) >= _order(first))
        if not first.isdecimal() or not rising:
            text = f"{value!r} is no list of seeds; write for instance 0,1,2 or 0-4"
            raise click.BadParameter(text, ctx, param)
        if _order(last or first) > _order(str(MOST_SEED)):
            text = f"a seed is larger than {MOST_SEED}, the largest that torch takes"
            raise click.BadParameter(f"{text}; give smaller ones", ctx, param)
        seeds += range(int(first), min(int(last or first), int(first) + MOST) + 1)
    if len(seeds) > MOST:
        raise click.BadParameter(f"{value!r} is more than {MOST} seeds", ctx, param)
    return tuple(dict.fromkeys(seeds))


def _order(digits: str) -> tuple[int, str]:
    """Compares as the number does, however long it is."""
    bare = digits.lstrip("0")
    return len(bare), bare


def run_all(jobs: Sequence[QueuedRun], state: State, reporter: Reporter, spread: Spread) -> Outcome:
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
    done = [(jobs[number], result) for number, result in there.items()]
    failures: list[Failure] = []
    if missing := [job for number, job in enumerate(jobs) if number not in there]:
        make = _one_by_one if alone else _at_once
        made, failures = make(missing, state, reporter, spread)
        done += made
    order = {id(job): number for number, job in enumerate(jobs)}
    return settled(sorted(done, key=lambda one: order[id(one[0])]), failures)


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
    mistaken = [(job, errors[job.name]) for job in jobs if job.name in errors]
    return [Failure(job, error, sentence(error, state)) for job, error in mistaken]


_SETTLED = ("model", "dataset", "data_root", "settings", "config", "preset", "overrides", "table")
"""What decides the settings of a job, which are those of its name whatever its seed."""


def settled(results: list[tuple[QueuedRun, Result]], failures: list[Failure]) -> Outcome:
    """The same, unless nothing could be done and all for one mistake of the user's, which is raised
    then."""
    for_user = all(isinstance(failure.error, UserError) for failure in failures)
    if not results and for_user and len({failure.reason for failure in failures}) == 1:
        raise failures[0].error
    return results, failures


def _one_by_one(
    jobs: Sequence[QueuedRun], state: State, reporter: Reporter, spread: Spread
) -> Outcome:
    from zslkit.runs import api

    results: list[tuple[QueuedRun, Result]] = []
    failures: list[Failure] = []
    for count, job in enumerate(jobs, start=1):
        reporter.note(f"{job} ({count} of {len(jobs)})")
        try:
            tries = tries_of(job.arguments, spread, state)
            results.append((job, api.run(**job.arguments, reporter=reporter, executor=tries)))
        except Exception as error:
            # Of several processes, another may be left waiting for this one.
            if is_disk_full(error) or distributed.several():
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
) -> Outcome:
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


def tell_failures(failures: Sequence[Failure]) -> int:
    """Tell each reason with every run that it stopped; returns the exit code of the command."""
    runs: dict[str, list[str]] = {}
    for failure in failures:
        runs.setdefault(failure.reason, []).append(f"{failure.job.name} (seed {failure.job.seed})")
    for reason, who in runs.items():
        tell(f"{', '.join(who)} failed: {reason}")
    return 1 if failures else 0


def as_json(failures: Iterable[Failure], name: str) -> list[dict[str, object]]:
    """The failures as plain data; name: the key of a job's name."""
    return [{name: f.job.name, "seed": f.job.seed, "reason": f.reason} for f in failures]


def tries_of(arguments: Mapping[str, Any], spread: Spread, state: State) -> TrialExecutor | None:
    """What zslkit.run, with these arguments, tries the points of its search with; None: itself, one
    after another."""
    local = spread.backend == "local"
    if distributed.launched() or (local and spread.processes(str(arguments["device"])) == 1):
        return None
    return lambda points: _tried(points, arguments, spread, state)


def plan_of(arguments: Mapping[str, Any]) -> Plan:
    """The plan of the run with these arguments of zslkit.run."""
    from zslkit.runs.plan import make_plan

    names = ("settings", "config", "preset", "overrides", "table")
    choices = {name: arguments[name] for name in names if name in arguments}
    return make_plan(arguments["model"], arguments["dataset"], **choices)


def check_search(arguments: Mapping[str, Any]) -> None:
    """Raises UserError if the run searches nothing, so that there is nothing to spread."""
    plan = plan_of(arguments)
    if not (plan.protocol.tune and plan.model_class.search):
        why = "without --tune this run searches nothing"
        if plan.protocol.tune:
            why = f"{plan.entry.name} declares no grid"
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
