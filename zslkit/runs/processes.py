"""Coordinates the processes that share one run: one makes it, others take part or wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from zslkit.model import GradientModel
from zslkit.runs import tracking
from zslkit.runs.execute import outcome, work
from zslkit.runs.figures import check_kept
from zslkit.runs.folders import load_run
from zslkit.runs.job import RunJob
from zslkit.runs.result import Result
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.scores import Scores, ScoreStream
from zslkit.runs.source import CHANGED, changed
from zslkit.training.shared import shares_batches
from zslkit.utils import distributed

Reuse = Literal["none", "same source", "any source"]
"""Which finished runs are returned: none, those of the model's present source, or all."""


def result_of(job: RunJob, out: Path, reuse: Reuse) -> Result:
    """Make the run, or find it below `out`. Every process of the run calls this and gets the same.

    Raises:
        UserError: The caller can correct the cause.
        TrainingError: The training fails.
    """
    if not distributed.several():
        return _made_or_found(job, out, reuse)
    if job.external_weights is None and shares_batches(job.plan.model_class):
        return _made_or_found(job, out, reuse) if distributed.first() else _beside(job, out)
    return _by_one(job, out, reuse)


def found(job: RunJob, final: Path, reuse: Reuse) -> tuple[Result | None, list[str]]:
    """The run in the folder `final`, or None if it may not be reused, and sentences that say why.

    Raises:
        DataError: The run's record is damaged, or the scores beside it contradict it.
    """
    if reuse == "none" or not final.is_dir():
        return None, []
    run, notes = load_run(final), list[str]()
    check_kept(run)
    record = run.record
    then, now = record.model.source, job.source
    if now and not then:
        name = job.plan.entry.name
        notes = [
            f"Older runs of {name} do not say which source of it made them "
            "and are taken as they are; --again makes them anew"
        ]
    elif then and (other := changed(then, now)):
        source = f"another source of {job.plan.entry.name} ({_modules(then, other)})"
        was = f"{final} was made by {source}"
        if reuse == "same source":
            return None, [f"{was}, so it is made anew; --reuse-changed takes it as it is"]
        notes = [f"{was}, and is taken as it is"]
    if torch.are_deterministic_algorithms_enabled() and not record.environment.deterministic:
        notes.append(
            f"{final} is there already and was made without --deterministic; --again makes it anew"
        )
    return Result(record, final, reused=True), notes


def _modules(then: Mapping[str, str], other: Sequence[str]) -> str:
    """A phrase such as 'pkg.a and 2 more changed since'; changes during the run come first."""
    mixed = [name for name in other if then.get(name) == CHANGED]
    names, what = (mixed, "changed while it was made") if mixed else (other, "changed since")
    return f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''} {what}"


def _made_or_found(job: RunJob, out: Path, reuse: Reuse) -> Result:
    """Make or find the run in the first process; the other processes of the run call `_beside`."""
    key = job.key(out)
    names = job.data.name, job.plan.entry.name
    with RunFolder.open(out, *names, job.seed, key, job.reporter.note) as folder:
        finished, notes = found(job, folder.final, reuse)
        for note in notes:
            job.reporter.note(note)
        if distributed.agreed(finished is not None):
            assert finished is not None
            return finished
        if folder.finished:
            folder.retire()
        if other := folder.begin(job.source):
            job.reporter.note(
                f"{other[0]} has changed since this run was begun; "
                "it goes on from its checkpoint and its record says so "
                f"(remove {folder.path} to start afresh)"
            )
        job.reporter.note(job.input_words)
        if job.slow_words:
            job.reporter.note(job.slow_words)
        distributed.wait()
        with tracking.follow(
            job.trackers, folder, job.info(folder.final, key), job.reporter.note
        ) as followers:
            try:
                record, scores = work(job, folder, key)
            except BaseException:
                folder.drop_if_bare()
                raise
            folder.commit(record, scores)
            followers.finish(record)
        distributed.wait()
        return Result(record, folder.path, reused=False)


class _Watched(RunFolder):
    """The folder of a run that another process has opened; it is read and never written."""

    def log(self, **values: Any) -> None:
        """Do nothing; the other process logs."""

    def keep(self, stream: ScoreStream) -> Scores:
        """Take part in computing the scores; the other process writes them."""
        seen, unseen = (np.concatenate(list(s)) for s in (stream.test_seen, stream.test_unseen))
        of_seen, of_unseen = stream.test_seen_labels, stream.test_unseen_labels
        return Scores(seen, of_seen, unseen, of_unseen, stream.seen, stream.classes)


def _beside(job: RunJob, out: Path) -> Result:
    """Take part in the run in a process that is not the first, and read the first one's record."""
    folder = _Watched(job.place(out))
    reused = distributed.agreed(False)
    if not reused:
        distributed.wait()
        folder.finished = False
        outcome(job, folder)
        distributed.wait()
    return Result(load_run(folder.final).record, folder.final, reused)


def _by_one(job: RunJob, out: Path, reuse: Reuse) -> Result:
    """Let the first process make the run while the others wait, if training cannot be shared."""
    if distributed.first():
        job.reporter.note(
            f"{job.plan.entry.name}: one of the {distributed.size()} processes makes this run, "
            f"since {_why_by_one(job)}"
        )
        with distributed.alone():
            made = _made_or_found(job, out, reuse)
        distributed.agreed(made.reused)
        return made
    final = job.place(out)
    reused = distributed.agreed(False)
    return Result(load_run(final).record, final, reused)


def _why_by_one(job: RunJob) -> str:
    model_class = job.plan.model_class
    if job.external_weights is not None:
        return "another program has trained the model"
    if issubclass(model_class, GradientModel) and model_class.fit is GradientModel.fit:
        return "the model does not declare its loss a mean over images (loss_is_mean)"
    return "the model trains itself"
