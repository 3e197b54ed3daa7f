"""Finds finished runs by model, dataset and settings, without opening data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from zslkit.config.merge import flat
from zslkit.record import PICKED, RunRecord
from zslkit.runs.folders import Run
from zslkit.runs.same_inputs import same_features
from zslkit.runs.source import changed, sources
from zslkit.training.plan import Plan


def matching_runs(runs: Iterable[Run], plan: Plan, seed: int) -> list[Run]:
    """The runs of the plan's model and dataset with this seed and the same settings.

    Runs with weights of another program come first, then trainings; the newest last. Data and
    features are not opened, so a run on other images under the same dataset name matches too;
    tables separate such runs. Older records do not say which values were requested for selected
    settings, so any selected value matches.
    """
    entry = plan.entry
    settings = flat(plan.values)
    idle = {f"protocol.{name}" for name in plan.idle | {"watch_test"}}
    wanted = entry.name, entry.distribution, plan.dataset.name, seed

    def matches(record: RunRecord) -> bool:
        names = record.model.name, record.model.distribution, record.dataset.name
        same = (*names, record.seed) == wanted and _agree(record, settings, idle)
        return same and same_features(record, plan)

    found = [run for run in runs if matches(run.record)]
    return sorted(found, key=lambda run: (not run.record.elsewhere, run.record.finished))


def other_source(runs: Sequence[Run], plan: Plan) -> str:
    """A sentence that counts the runs made by another source of the model; "" if there are none."""
    now = sources(plan.entry, plan.model_class)
    then = [run.record.model.source for run in runs]
    differing = [modules for source in then if source and (modules := changed(source, now))]
    if not differing:
        return ""
    return (
        f"{len(differing)} of {len(runs)} runs of {plan.entry.name} "
        "that are shown were made by another source of it "
        f"({differing[0][0]} has changed since); without --no-run they are made anew"
    )


def _agree(record: RunRecord, settings: Mapping[str, Any], idle: AbstractSet[str]) -> bool:
    picked = {key for key, origin in record.origins.items() if origin == PICKED}
    then = flat(record.config)
    keys = (then.keys() | settings.keys()) - picked - idle
    return all(then.get(k) == settings.get(k) for k in keys if not k.startswith("features."))
