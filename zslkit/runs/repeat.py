"""Repeats a finished run: what to run again, and whether the scores are equal to the byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.config.merge import flat
from zslkit.datasets.catalog import find_dataset
from zslkit.errors import DataError, UnknownName, UserError
from zslkit.registry import DATASETS
from zslkit.runs.folders import Run
from zslkit.runs.plan import make_plan


@dataclass(frozen=True)
class Repetition:
    """Scores of a repeated run beside those of the first one.

    Attributes:
        equal: Whether all arrays are equal to the byte.
        largest: Largest difference of a score; None where the arrays cannot be compared.
        answers: Number of test images that are answered otherwise; None likewise.
        metrics: Metric -> value of the first run and of the repetition, where they differ.
    """

    equal: bool
    largest: float | None
    answers: int | None
    metrics: Mapping[str, tuple[float, float]]


def arguments_of(run: Run, dataset: str | None = None, **choices: Any) -> dict[str, Any]:
    """Arguments of `zslkit.run` that repeat a run: model, dataset, seed and settings.

    `dataset` is the card of an unregistered dataset; `choices`, which decide nothing, are passed
    on.

    Raises:
        UserError: The run cannot be repeated here; says why.
    """
    record = run.record
    if record.elsewhere:
        raise UserError(
            f"The weights of {run.folder} come from {record.elsewhere}, so no training repeats it; "
            "convert them again instead"
        )
    arguments: dict[str, Any] = {
        "model": f"{record.model.distribution}:{record.model.name}",
        "dataset": _dataset_of(run, dataset),
        "settings": (),
        "config": None,
        "preset": None,
        "overrides": record.config,
    }
    now = flat(make_plan(**arguments).values)
    then = flat(record.config)
    for key in [*then, *now]:
        if then.get(key) != now.get(key):
            raise UserError(
                f"{run.folder} was made with {key} = {then.get(key)!r}, which "
                f"{record.model.name} {record.model.version} takes as {now.get(key)!r} here; "
                "install the version that made it"
            )
    return {**choices, **arguments, "seed": record.seed}


def _dataset_of(run: Run, dataset: str | None) -> str:
    name = run.record.dataset.name
    if dataset is None:
        try:
            DATASETS.find(name)
        except UnknownName as error:
            raise UserError(
                f"{run.folder} was made on {name}, which is no registered dataset; give its card "
                "with --dataset FILE.yaml"
            ) from error
        return name
    given = find_dataset(dataset).name
    if given != name:
        raise UserError(f"{run.folder} was made on {name}, and --dataset {dataset} is {given}")
    return dataset


def compared(first: Run, second: Run) -> Repetition:
    """Compare the scores of a run with those of its repetition.

    Raises:
        DataError: Scores are missing or damaged.
    """
    a, b = first.scores(), second.scores()
    arrays = [(np.asarray(x), np.asarray(y)) for x, y in zip(a.sets(), b.sets(), strict=True)]
    was, now = (run.record.metrics.model_dump() for run in (first, second))
    metrics = {name: (was[name], now[name]) for name in was if was[name] != now[name]}
    if a.classes != b.classes or any(x.shape != y.shape for x, y in arrays):
        return Repetition(False, None, None, metrics)
    equal = all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in arrays)
    (seen, other_seen), _, (unseen, other_unseen), _, (mask, _) = arrays
    largest, answers = 0.0, 0
    gammas = first.record.protocol.gamma, second.record.protocol.gamma
    for x, y in ((seen, other_seen), (unseen, other_unseen)):
        if x.size:
            largest = max(largest, float(np.abs(x.astype(np.float64) - y).max()))
            told = [(s + g * ~mask).argmax(axis=1) for s, g in zip((x, y), gammas, strict=True)]
            answers += int((told[0] != told[1]).sum())
    return Repetition(equal, largest, answers, metrics)


def check_place(run: Run, out: Path) -> None:
    """Raises UserError if a repetition in the results `out` would take the place of the run."""
    if run.folder.resolve().is_relative_to(out.resolve()):
        raise UserError(
            f"{run.folder} lies in {out}, where its repetition would take its place; "
            "choose another --out"
        )


def check_scores(run: Run) -> None:
    """Raises DataError if the run has no readable scores, before hours are spent on others."""
    try:
        run.scores()
    except DataError as error:
        raise DataError(
            f"Without its scores {run.folder} has nothing to compare: {error}"
        ) from error
