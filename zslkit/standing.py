"""Which finished runs are there already for a model, a dataset and settings: found without data and without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zslkit.data.catalog import DATASETS, is_card
from zslkit.data.folder import read_card
from zslkit.results.runs import Run
from zslkit.settings import Plan, make_plan


@dataclass(frozen=True)
class Wanted:
    """What is looked for. dataset: its name as records have it."""

    plan: Plan
    dataset: str


def wanted(model: str, dataset: str, **choices: Any) -> Wanted:
    """What `experiment.run` would run with these settings; choices: those of `make_plan`, whose errors it raises."""
    name = read_card(Path(dataset)).name if is_card(dataset) else DATASETS.load(dataset)[0].name
    return Wanted(make_plan(model, dataset, **choices), name)


def standing(runs: Iterable[Run], looked_for: Wanted, seed: int) -> list[Run]:
    """The runs of that model, dataset and seed whose settings are those, the newest last; what validation picked may be anything.

    Data and features are not opened, so a run on other images by the same name is found as well; tables keep such apart.
    """
    entry = looked_for.plan.entry
    settings = flat(looked_for.plan.values)
    found = [
        run
        for run in runs
        if (run.record.model.name, run.record.model.distribution) == (entry.name, entry.distribution)
        and (run.record.dataset.name, run.record.seed) == (looked_for.dataset, seed)
        and _agree(run, settings)
    ]
    return sorted(found, key=lambda run: run.record.finished)


def _agree(run: Run, settings: Mapping[str, Any]) -> bool:
    picked = {key for key, origin in run.record.origins.items() if origin == "picked on validation"}
    then = flat(run.record.config)
    return all(then.get(key) == settings.get(key) for key in (then.keys() | settings.keys()) - picked)


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by dotted key; an empty section is a value of its own."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{before}{name}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{key}.")
        else:
            found[key] = value
    return found
