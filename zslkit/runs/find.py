"""Which finished runs are there already for a model, a dataset and settings: found without data and without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zslkit.datasets.catalog import DATASETS
from zslkit.registry import is_card
from zslkit.datasets.card import read_card
from zslkit.config.merge import flat
from zslkit.record import PICKED
from zslkit.runs.folders import Run
from zslkit.runs.source import changed, sources
from zslkit.training.plan import Plan
from zslkit.runs.plan import make_plan


@dataclass(frozen=True)
class RunQuery:
    """What is looked for. dataset: its name as records have it."""

    plan: Plan
    dataset: str


def run_query(model: str, dataset: str, **choices: Any) -> RunQuery:
    """What `experiment.run` would run with these settings; choices: those of `make_plan`, whose errors it raises."""
    name = read_card(Path(dataset)).name if is_card(dataset) else DATASETS.load(dataset)[0].name
    return RunQuery(make_plan(model, dataset, **choices), name)


def matching_runs(runs: Iterable[Run], looked_for: RunQuery, seed: int) -> list[Run]:
    """The runs of that model, dataset and seed whose settings are those, as far as they decide anything.

    The newest of the trainings stands last, before them those whose weights another program made. In
    an older record, what validation picked may be anything, since it does not say what was asked for.
    Data and features are not opened, so a run on other images by the same name is found as well; tables keep such apart.
    """
    entry = looked_for.plan.entry
    settings = flat(looked_for.plan.values)
    idle = {f"protocol.{name}" for name in looked_for.plan.idle | {"watch_test"}}
    found = [
        run
        for run in runs
        if (run.record.model.name, run.record.model.distribution) == (entry.name, entry.distribution)
        and (run.record.dataset.name, run.record.seed) == (looked_for.dataset, seed)
        and _agree(run, settings, idle)
    ]
    return sorted(found, key=lambda run: (not run.record.elsewhere, run.record.finished))


def other_source(runs: Sequence[Run], looked_for: RunQuery) -> str:
    """The sentence that says how many of the runs another source of the model made, "" if none is known to be of one."""
    plan = looked_for.plan
    now = sources(plan.entry, plan.kind)
    then = [run.record.model.source for run in runs]
    differing = [modules for source in then if source and (modules := changed(source, now))]
    if not differing:
        return ""
    return (
        f"{len(differing)} of {len(runs)} runs of {plan.entry.name} that are shown were made by another source of it "
        f"({differing[0][0]} has changed since); without --no-run they are made anew"
    )


def _agree(run: Run, settings: Mapping[str, Any], idle: AbstractSet[str]) -> bool:
    picked = {key for key, origin in run.record.origins.items() if origin == PICKED}
    then = flat(run.record.config)
    return all(then.get(key) == settings.get(key) for key in (then.keys() | settings.keys()) - picked - idle)
