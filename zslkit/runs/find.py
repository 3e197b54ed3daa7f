"""Finds finished runs by model, dataset and settings, without opening data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zslkit.config.merge import flat
from zslkit.datasets.card_keys import read_card
from zslkit.datasets.catalog import DATASETS
from zslkit.record import PICKED, RunRecord
from zslkit.registry import is_card
from zslkit.runs.folders import Run
from zslkit.runs.plan import make_plan
from zslkit.runs.same_inputs import same_features
from zslkit.runs.source import changed, sources
from zslkit.training.plan import Plan


@dataclass(frozen=True)
class RunQuery:
    """A model, the dataset's name as in records, and settings to find runs of."""

    plan: Plan
    dataset: str


def run_query(model: str, dataset: str | Path, **choices: Any) -> RunQuery:
    """The query for runs that `zslkit.run` would make; choices as of `make_plan`."""
    card = read_card(Path(dataset)) if is_card(dataset) else None
    name = card.name if card else DATASETS.load(str(dataset))[0].name
    return RunQuery(make_plan(model, dataset, **choices), name)


def matching_runs(runs: Iterable[Run], query: RunQuery, seed: int) -> list[Run]:
    """The runs of the model, dataset and seed with the same settings, where those matter.

    Runs with weights of another program come first, then trainings; the newest last. Data and
    features are not opened, so a run on other images under the same dataset name matches too;
    tables separate such runs. Older records do not say which values were requested for selected
    settings, so any selected value matches.
    """
    entry = query.plan.entry
    settings = flat(query.plan.values)
    idle = {f"protocol.{name}" for name in query.plan.idle | {"watch_test"}}
    wanted = entry.name, entry.distribution, query.dataset, seed

    def matches(record: RunRecord) -> bool:
        names = record.model.name, record.model.distribution, record.dataset.name
        same = (*names, record.seed) == wanted and _agree(record, settings, idle)
        return same and same_features(record, query.plan)

    found = [run for run in runs if matches(run.record)]
    return sorted(found, key=lambda run: (not run.record.elsewhere, run.record.finished))


def other_source(runs: Sequence[Run], query: RunQuery) -> str:
    """A sentence that counts the runs made by another source of the model; "" if there are none."""
    plan = query.plan
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
