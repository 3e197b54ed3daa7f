"""The Python entry points of one run: resolve its settings, train and evaluate it, or find it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zslkit.config import Input
from zslkit.config.merge import GivenSettings, Settings
from zslkit.dataset import Dataset
from zslkit.datasets.catalog import NamedDataset
from zslkit.errors import UserError
from zslkit.features.unreadable import readable
from zslkit.runs import tracking
from zslkit.runs.advice import fitting_preset, replaced_by_search
from zslkit.runs.find import matching_runs
from zslkit.runs.folders import find_runs_of, run_path
from zslkit.runs.job import ExternalWeights as ExternalWeights
from zslkit.runs.job import RunJob
from zslkit.runs.plan import make_plan
from zslkit.runs.processes import Reuse, found, result_of
from zslkit.runs.result import Result as Result
from zslkit.training.inputs import Inputs, choose_input, prepare
from zslkit.training.plan import Plan
from zslkit.training.search import TrialExecutor
from zslkit.training.selection import ValidationContext
from zslkit.utils import distributed, library_state
from zslkit.utils.determinism import deterministic as only_deterministic
from zslkit.utils.devices import choose_device
from zslkit.utils.progress import Reporter, Silent
from zslkit.utils.seeds import check_seed
from zslkit.utils.stops import contained


def resolve(
    model: str, dataset: str | Path = "digits", *, data_root: str | Path = "data", **choices: Any
) -> Settings:
    """Settings that a run would use, and the origin of each; choices are those of `make_plan`.

    Needs no data; `data_root` is accepted so that `run` takes the same arguments.
    """
    with contained(f"The model {model!r}"), library_state.held(model):
        plan = make_plan(model, dataset, **choices)
    return Settings(plan.values, dict(plan.origins))


def resolve_input(
    model: str, dataset: str = "digits", *, data_root: str | Path = "data", **choices: Any
) -> tuple[Input, bool]:
    """What `features.input` leads to (pooled, map or image), and whether the dataset was looked at.

    Arguments as of `resolve`. Without the dataset's files, images are assumed.

    Raises:
        UserError: The model does not take the input that is asked for.
    """
    with contained(f"The model {model!r}"), library_state.held(model):
        plan = make_plan(model, dataset, **choices)
        try:
            data: Dataset | None = plan.dataset.load(data_root)
        except UserError:
            data = None
        accepted, name = plan.model_class.inputs, plan.entry.name
        return choose_input(accepted, plan.features, data, name), data is not None


def run(
    model: str,
    dataset: str | Path = "digits",
    *,
    seed: int = 0,
    data_root: str | Path = "data",
    settings: GivenSettings = (),
    config: str | Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    table: Sequence[str] = (),
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
    """Train a model on the trainval images of a dataset, evaluate it, and write a run folder.

    A finished run with the same identity is returned as it is. An interrupted run continues where
    it stopped. A finished run is made again if the model's source has changed since.

    Args:
        model: Name of a registered model.
        dataset: Name of a registered dataset, or path of a dataset card.
        seed: Seed of all random numbers of the run.
        data_root: Folder that holds the datasets.
        settings: Settings, as a dictionary such as {"train.epochs": 5}, nested or with dotted keys,
            or as texts `key=value` of `--set`.
        config: YAML file of settings.
        preset: Name of a preset of the model.
        overrides: Settings that win over all others; a dictionary as of `settings`.
        table: All models that share the settings, of which `settings` and `config` may give
            single ones settings of their own; empty for this model alone.
        device: "auto", or a name that torch accepts.
        out: Folder of results; the run folder is written below it.
        again: Make the run again even if it is finished.
        reuse_changed: Return a finished run even if the model's source has changed since.
        deterministic: Use deterministic algorithms only (`zslkit.utils.determinism`). Not part of
            the identity, since it changes results by rounding at most.
        reporter: Receives progress and notes; None prints nothing.
        trained: Weights of another program, used instead of a training. Nothing is selected on
            validation then.
        trackers: Names of trackers that receive the progress of the run. They do not affect
            results, and receive nothing if the run is finished already.
        executor: Runs the points of a search, for instance in other processes; None runs them in
            this process, one after another.

    Raises:
        UserError: The caller can correct the cause.
        TrainingError: The training fails.
    """
    distributed.join()
    reporter = (reporter if distributed.first() else None) or Silent()
    choices = {
        "settings": settings,
        "config": config,
        "preset": preset,
        "overrides": overrides,
        "table": table,
    }
    with only_deterministic(deterministic), contained(f"The model {model!r}"):
        with distributed.in_turn():
            ready = tracking.load(trackers)  # first: an unusable tracker must not cost a training
        job = _job(model, dataset, seed, data_root, device, reporter, choices)
        job = replace(job, external_weights=trained, trackers=ready, executor=executor)
        result = result_of(job, Path(out), _reuse(again, reuse_changed))
    return replace(result, data_root=job.plan.dataset.place(data_root), device=device)


def _reuse(again: bool, reuse_changed: bool) -> Reuse:
    return "none" if again else "any source" if reuse_changed else "same source"


def context(
    folder: str | Path,
    model: str,
    dataset: str | Path = "digits",
    *,
    seed: int = 0,
    data_root: str | Path = "data",
    device: str = "auto",
    reporter: Reporter | None = None,
    **choices: Any,
) -> ValidationContext:
    """The validation folds and settings in which `run` with these arguments tries search points.

    Makes no run (`zslkit.training.selection.try_point`). The trainings leave files behind in
    `folder`.

    Raises:
        UserError: As `run` before it trains.
    """
    with contained(f"The model {model!r}"):
        job = _job(model, dataset, seed, data_root, device, reporter or Silent(), choices)
        return job.context(Path(folder), lambda **row: None)


class Finder:
    """Finds finished runs and makes none.

    A run's identity depends on data and inputs, so both are opened, but only where a record
    suggests a matching run. Runs that share data or inputs open them once.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, Plan] = {}
        self._jobs: dict[str, RunJob] = {}
        self._opened: dict[str, Any] = {}

    def find(
        self,
        model: str,
        dataset: str | Path,
        *,
        seed: int,
        data_root: str | Path,
        device: str,
        out: str | Path,
        again: bool = False,
        reuse_changed: bool = False,
        deterministic: bool = False,
        reporter: Reporter,
        trackers: Sequence[str] = (),
        **choices: Any,
    ) -> tuple[Result | None, list[str]]:
        """The run that `run` with these arguments would return, and the notes that it would print.

        None if `run` would make one. `trackers` is accepted so that `run` takes the same arguments.

        Raises:
            UserError: As `run` before it trains.
        """
        if again:
            return None, []
        key = json.dumps([model, str(dataset), str(data_root), device, choices], default=str)
        if key not in self._wanted:
            self._wanted[key] = make_plan(model, dataset, **choices)
        plan = self._wanted[key]
        model_folder = run_path(Path(out), plan.dataset.name, plan.entry.name, seed, "").parent
        runs = find_runs_of(model_folder, seed, lambda sentence: None)
        if not any(not run.record.elsewhere for run in matching_runs(runs, plan, seed)):
            return None, []
        with only_deterministic(deterministic):
            if key not in self._jobs:
                self._jobs[key] = _job(
                    *(model, plan.dataset, seed, data_root, device, reporter, choices),
                    opened=self._opened,
                    plan=plan,
                )
            job = replace(self._jobs[key], seed=seed, reporter=reporter)
            return found(job, job.place(Path(out)), _reuse(again, reuse_changed))


def _job(
    model: str,
    dataset: str | Path | NamedDataset,
    seed: int,
    data_root: str | Path,
    device: str,
    reporter: Reporter,
    choices: Mapping[str, Any],
    opened: dict[str, Any] | None = None,
    plan: Plan | None = None,
) -> RunJob:
    """Plan (None: made here), data and inputs of one run; what `opened` holds is shared."""
    seed = check_seed(seed)
    shared = {} if opened is None else opened

    def once(key: str, make: Callable[[], Any]) -> Any:
        if key not in shared:
            shared[key] = make()
        return shared[key]

    with distributed.in_turn():
        with library_state.held(model):
            plan = plan or make_plan(model, dataset, **choices)
            if replaced := replaced_by_search(plan):
                reporter.note(f"{plan.entry.name}: {replaced}")
            chosen_device = choose_device(device)
            # Before the data, so that missing weights are reported at once.
            encoder = plan.encoder()
        named = plan.dataset
        place = f"{named.word} {data_root}"
        with library_state.held(named.word):
            data: Dataset = once(place, lambda: named.load(data_root))
        for note in data.notes:
            reporter.note(f"{data.name}: {note}")
        if fitting := fitting_preset(plan, data_root, data, choices):
            reporter.note(f"{data.name}: {fitting}")
        input_kind = choose_input(plan.model_class.inputs, plan.features, data, plan.entry.name)
        began = time.monotonic()
        if plan.features.skip_bad:
            whole = data
            data = once(f"readable {place}", lambda: readable(whole, reporter))

    def make() -> Inputs:
        return prepare(data, plan.features, input_kind, chosen_device, reporter, encoder)

    asked = f"{place} {chosen_device} {input_kind} {plan.features.model_dump_json()}"
    inputs = once(asked, make) if encoder is None else make()
    seconds = time.monotonic() - began
    return RunJob(plan, data, inputs, seed, chosen_device, reporter, seconds)
