"""One run, start to end: what is asked for becomes a plan, its data and inputs are made ready, and the job is done or found done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zslkit.utils import library_state, distributed
from zslkit.training import selection
from zslkit.runs import tracking
from zslkit.datasets.catalog import DATASETS, load_dataset
from zslkit.registry import is_card
from zslkit.features.unreadable import readable
from zslkit.dataset import Dataset
from zslkit.utils.determinism import deterministic as only_deterministic
from zslkit.utils.devices import choose_device as choose_device
from zslkit.runs.execute import ExternalWeights as ExternalWeights
from zslkit.runs.execute import RunExecution
from zslkit.config.merge import Settings
from zslkit.utils.progress import Reporter, Silent
from zslkit.runs.folders import find_runs_of, run_path
from zslkit.training.search import TrialExecutor
from zslkit.utils.seeds import check_seed
from zslkit.runs.plan import make_plan
from zslkit.runs.processes import Result as Result
from zslkit.runs.processes import Reuse, found, result_of
from zslkit.runs.find import RunQuery, matching_runs, run_query
from zslkit.utils.stops import contained
from zslkit.training.inputs import Inputs, choose_input, prepare


def resolve(
    model: str,
    dataset: str = "digits",
    *,
    data_root: str | Path = "data",
    settings: Sequence[str] = (),
    config: Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """What a run would use, and where each value comes from. Needs no data."""
    with contained(f"The model {model!r}"), library_state.held(model):
        plan = make_plan(model, dataset, settings=settings, config=config, preset=preset, overrides=overrides)
    return Settings(plan.values, dict(plan.origins))


def run(
    model: str,
    dataset: str = "digits",
    *,
    seed: int = 0,
    data_root: str | Path = "data",
    settings: Sequence[str] = (),
    config: Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    out: str | Path = "runs",
    again: bool = False,
    reuse_changed: bool = False,
    deterministic: bool = False,
    reporter: Reporter | None = None,
    trained: ExternalWeights | None = None,
    trackers: Sequence[str] = (),
    executor: TrialExecutor | None = None,
) -> Result:
    """Train `model` on the trainval images of `dataset`, evaluate it, and keep everything in a run folder below `out`.

    A run that is there already is given back as it is, unless `again`; an interrupted one goes on where it stopped.
    One that another source of the model made is made anew, unless `reuse_changed`.
    deterministic: see zslkit.utils.determinism; it decides no identity, since it moves results by rounding at most.
    trained: weights of another program instead of a training; then nothing is picked on validation.
    trackers: names of those that are told how the run goes; they decide nothing of it, and a run that is there is not told again.
    tries: what the points of a search are tried with, such as other processes; None: this one, one after another.
    Raises UserError for whatever the caller can mend, TrainingError if training breaks down.
    """
    distributed.join()
    reporter = (reporter if distributed.first() else None) or Silent()
    choices = {"settings": settings, "config": config, "preset": preset, "overrides": overrides}
    with only_deterministic(deterministic), contained(f"The model {model!r}"):
        with distributed.in_turn():
            ready = tracking.load(trackers)  # first, so that one that cannot be used costs nothing
        job = _job(model, dataset, seed, data_root, device, reporter, choices)
        return result_of(replace(job, elsewhere=trained, trackers=ready, executor=executor), Path(out), _reuse(again, reuse_changed))


def _reuse(again: bool, reuse_changed: bool) -> Reuse:
    return "none" if again else "any source" if reuse_changed else "same source"


def context(
    folder: Path,
    model: str,
    dataset: str = "digits",
    *,
    seed: int = 0,
    data_root: str | Path = "data",
    settings: Sequence[str] = (),
    config: Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> selection.ValidationContext:
    """What `run` with these arguments would try the points of its search in, on the same folds: see `selection.try_point`.

    folder: for what the trainings leave behind; no run is made. Raises what `run` raises before it trains.
    """
    choices = {"settings": settings, "config": config, "preset": preset, "overrides": overrides}
    with contained(f"The model {model!r}"):
        job = _job(model, dataset, seed, data_root, device, reporter or Silent(), choices)
        return job.context(folder, lambda **row: None)


class Finder:
    """Finds finished runs and makes none.

    What several runs share is opened once, and only where a record says that a run may be there: its place hangs on data and inputs.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, RunQuery] = {}
        self._jobs: dict[str, RunExecution] = {}
        self._opened: dict[str, Any] = {}

    def find(
        self,
        model: str,
        dataset: str,
        *,
        seed: int,
        data_root: str | Path,
        device: str,
        out: Path,
        again: bool = False,
        reuse_changed: bool = False,
        deterministic: bool = False,
        reporter: Reporter,
        trackers: Sequence[str] = (),
        **choices: Any,
    ) -> tuple[Result | None, list[str]]:
        """What `run` with these arguments would give back, None if it would make a run; and what it would say of that.

        trackers: decide nothing. Raises what `run` raises before it trains.
        """
        if again:
            return None, []
        key = json.dumps([model, dataset, str(data_root), device, choices], default=str)
        if key not in self._wanted:
            self._wanted[key] = run_query(model, dataset, **choices)
        looked_for = self._wanted[key]
        beside = run_path(Path(out), looked_for.dataset, looked_for.plan.entry.name, seed, "").parent
        there = find_runs_of(beside, seed, lambda told: None)
        if not any(not run.record.elsewhere for run in matching_runs(there, looked_for, seed)):
            return None, []
        with only_deterministic(deterministic):
            if key not in self._jobs:
                self._jobs[key] = _job(model, dataset, seed, data_root, device, reporter, choices, self._opened)
            return found(replace(self._jobs[key], seed=seed, reporter=reporter), Path(out), _reuse(again, reuse_changed))


def _job(
    model: str,
    dataset: str,
    seed: int,
    data_root: str | Path,
    device: str,
    reporter: Reporter,
    choices: Mapping[str, Any],
    opened: dict[str, Any] | None = None,
) -> RunExecution:
    """opened: what other jobs have opened, to be shared and added to."""
    check_seed(seed)
    shared = {} if opened is None else opened

    def once(key: str, make: Callable[[], Any]) -> Any:
        if key not in shared:
            shared[key] = make()
        return shared[key]

    with distributed.in_turn():
        with library_state.held(model):
            plan = make_plan(model, dataset, **choices)
            where = choose_device(device)
            encoder = plan.encoder()  # before the data, since weights that are missing are told at once then
        place = f"{dataset} {data_root}"
        with library_state.held(dataset):
            data: Dataset = once(place, lambda: load_dataset(dataset, data_root))
        for note in data.notes:
            reporter.note(f"{data.name}: {note}")
        kind = choose_input(plan.kind.inputs, plan.features, data, plan.entry.name)
        began = time.monotonic()
        if plan.features.skip_bad:
            whole = data
            data = once(f"readable {place}", lambda: readable(whole, reporter))

    def make() -> Inputs:
        return prepare(data, plan.features, kind, where, reporter, encoder)

    inputs = make() if encoder is not None else once(f"{place} {where} {kind} {plan.features.model_dump_json()}", make)
    return RunExecution(plan, data, inputs, seed, where, reporter, time.monotonic() - began, _published_as(dataset))


def _published_as(dataset: str) -> str:
    return "" if is_card(dataset) else str(DATASETS.load(dataset)[1].published_as)
