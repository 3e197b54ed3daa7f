"""What a user may want to know about the settings of a run: a preset made for its attributes, and
values that a search replaces."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zslkit.config.merge import flat
from zslkit.config.wording import shown
from zslkit.dataset import Dataset
from zslkit.datasets.attribute_names import shipped_columns
from zslkit.errors import UserError
from zslkit.runs.plan import make_plan, presets_of
from zslkit.training.plan import Plan

DEFAULT = "preset default.yaml"
"""Origin of the settings in the preset that holds for any dataset."""


def fitting_preset(
    plan: Plan, data_root: str | Path, data: Dataset, choices: Mapping[str, Any]
) -> str:
    """Sentence with the command for a preset made for the dataset's attributes; "" if none fits.

    Only for a run without such a preset: none is requested, and the model has none for the dataset.
    `data_root` is as the user names it; choices, as of `make_plan`.
    """
    used = {origin for origin in plan.origins.values() if origin.startswith("preset ")}
    found = shipped_columns(data.semantics.names)
    if choices.get("preset") is not None or used - {DEFAULT} or found is None:
        return ""
    model, name = plan.entry.name, found[0].lower()
    if name not in presets_of(plan.model_class):
        return ""
    try:
        other = make_plan(model, plan.dataset, **{**choices, "preset": name})
    except UserError:  # a faulty preset that nobody asked for
        return ""
    if other.deciding == plan.deciding:
        return ""
    usual = plan.dataset.is_card or str(data_root) == "data"
    root = [] if usual else ["--data-root", str(data_root)]
    command = shlex.join(
        ["zslkit", "run", "-m", model, "-d", plan.dataset.word, *root, "--preset", name]
    )
    return f"the attributes are those of {found[0]}, for which {model} has settings: {command}"


def replaced_by_search(plan: Plan) -> str:
    """Sentence on settings that the user gives and the search on validation picks; "" if none."""
    if not plan.protocol.tune:
        return ""
    values = flat(plan.values)
    given = [
        f"{key}={shown(values[key])} ({plan.origins[key]})"
        for key in (*plan.model_class.search, *plan.model_class.mixes)
        if not plan.origins.get(key, "preset ").startswith(("preset ", "dataset "))
    ]
    if not given:
        return ""
    return (
        f"{', '.join(given)} decides nothing, since the search on validation picks "
        f"{'them' if len(given) > 1 else 'it'}; --set protocol.tune=false leaves the search away"
    )
