"""One run before it is made: what it needs, its identity and place, and its validation folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zslkit.dataset import Dataset
from zslkit.model import Model
from zslkit.record import AS_GIVEN
from zslkit.runs import tracking
from zslkit.runs.folders import identity, run_path
from zslkit.runs.same_inputs import spellings
from zslkit.runs.source import sources
from zslkit.tracker import RunInfo
from zslkit.training.inputs import Inputs, prepare
from zslkit.training.plan import Plan
from zslkit.training.search import TrialExecutor
from zslkit.training.selection import Fold, ValidationContext
from zslkit.utils.devices import bfloat16_remark
from zslkit.utils.files import partial_of
from zslkit.utils.progress import Reporter


@dataclass(frozen=True)
class ExternalWeights:
    """Weights that another program has trained: what loads them, their source and fingerprint."""

    fill: Callable[[Model], None]
    label: str
    digest: str


@dataclass(frozen=True)
class RunJob:
    """One run with everything that it needs.

    Attributes:
        extract_seconds: Time already spent on the inputs.
        external_weights: Weights of another program, used instead of a training.
        executor: Runs the points of a search; None for this process.
    """

    plan: Plan
    data: Dataset
    inputs: Inputs
    seed: int
    device: torch.device
    reporter: Reporter
    extract_seconds: float
    external_weights: ExternalWeights | None = None
    trackers: Sequence[tracking.Ready] = ()
    executor: TrialExecutor | None = None

    @property
    def picks(self) -> bool:
        """Whether anything is selected on validation."""
        return self.external_weights is None and self.plan.picks

    def decisive(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """All values that determine the outcome, with one of `spellings`; hashed, the identity."""
        entry, model_class = self.plan.entry, self.plan.model_class
        values: dict[str, Any] = {
            "model": [entry.name, entry.distribution, entry.version, self.plan.class_path],
            "config": config,
            "data": self.data.fingerprints(),
            "features": [self.inputs.kind, self.inputs.fingerprint],
            "seed": self.seed,
        }
        if self.external_weights is not None:
            values["elsewhere"] = self.external_weights.digest
        # Only transductive models receive other data; all other identities stay as they were.
        if model_class.protocol == "transductive":
            values["protocol"] = model_class.protocol
        # An earlier version averaged the selections of several folds; this one selects once.
        if self.picks and self.plan.protocol.folds > 1:
            values["folds"] = "together"
        return values

    def key(self, out: Path) -> str:
        """The run's identity below `out`: 12 hex digits.

        Settings that ask for the same inputs in other words have one identity, unless a run that
        an earlier version finished or began by another is there.
        """
        configs = spellings(self.plan, self.data, self.inputs)
        keys = list(dict.fromkeys(identity(self.decisive(config)) for config in configs))
        finished = [key for key in keys if self.place(out, key).is_dir()]
        begun = [key for key in keys if partial_of(self.place(out, key)).is_dir()]
        return [*finished, *begun, *keys][0]

    def place(self, out: Path, key: str | None = None) -> Path:
        """Folder of the finished run below `out`; by default under its own identity there."""
        key = self.key(out) if key is None else key
        return run_path(out, self.data.name, self.plan.entry.name, self.seed, key)

    def info(self, final: Path, key: str) -> RunInfo:
        """The description of the run that trackers receive before it starts."""
        entry = self.plan.entry
        return RunInfo(
            final, key, entry.name, entry.origin, self.data.name, self.seed, self.plan.values
        )

    @property
    def source(self) -> dict[str, str]:
        """Digests of the model's source, by module."""
        return sources(self.plan.entry, self.plan.model_class)

    @property
    def input_words(self) -> str:
        """What the model is fed with, in a sentence that is shown before the training."""
        inputs, word = self.inputs, self.plan.features.input
        asked = "" if word == inputs.kind else f" (features.input {word})"
        if not inputs.tuned:
            kind = {"pooled": "pooled features", "map": "feature maps"}[inputs.kind]
            given = inputs.backbone == AS_GIVEN
            source = "that came with the dataset" if given else f"of {inputs.backbone}, frozen"
            return f"{self.plan.entry.name} is fed with {kind} {source}{asked}"
        frozen = {"pooled", "map"} & set(self.plan.model_class.inputs)
        way_out = "; --input frozen trains the model alone" if frozen else ""
        return (
            f"{self.plan.entry.name} is fed with images{asked}: "
            f"{inputs.backbone} is trained with it{way_out}"
        )

    @property
    def slow_words(self) -> str:
        """What makes the training slow on this device; "" if nothing is known to."""
        train = getattr(self.plan.config, "train", None)
        precision = getattr(train, "precision", "float32")
        return bfloat16_remark(precision, self.device, "--precision")

    def context(self, folder: Path, log: Callable[..., None]) -> ValidationContext:
        """The folds and settings in which hyperparameters are selected.

        Trainings on the folds leave files behind in `folder` and write to `log`.
        """
        plan, protocol = self.plan, self.plan.protocol
        folds = []
        # All first: too many folds are told before weights are trained for one.
        held_out = [self.data.fold(protocol.fold_seed, part) for part in range(protocol.folds)]
        for part, data in enumerate(held_out):
            inputs = self.inputs
            # Weights made from trainval must not see the classes that a fold holds out.
            if plan.features.weights == "trainval":
                inputs = prepare(data, plan.features, inputs.kind, self.device, self.reporter)
            folds.append(Fold(part, data, inputs))
        return ValidationContext(
            plan, folds, self.seed, self.device, self.reporter, log, folder, self.executor
        )
