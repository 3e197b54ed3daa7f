"""A finished run as a Python caller gets it: its figures, its scores and its model."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from zslkit import record as schema
from zslkit.errors import UserError, listed
from zslkit.evaluation import gzsl
from zslkit.evaluation.attributes import AttributeScores
from zslkit.evaluation.gzsl import Metrics
from zslkit.evaluation.metrics import Index, Mask, ScoreTable
from zslkit.runs.figures import check_kept
from zslkit.runs.folders import Run
from zslkit.runs.named import runs_at
from zslkit.runs.scores import Scores

if TYPE_CHECKING:
    from zslkit.dataset import Dataset
    from zslkit.runs.load import LoadedRun
    from zslkit.runs.trained import TrainedModel


@dataclass(frozen=True, repr=False)
class Result:
    """A finished run: what `run`, `open_run` and `evaluate` of a run return.

    Scores, model and dataset are read on first use.

    Attributes:
        reused: Whether the run was finished before.
        data_root: Folder that holds the datasets, or the path of a dataset card.
        device: Device of the model, as of `--device`.
        measured: Figures measured anew from the scores; None: those of the record.
    """

    record: schema.RunRecord
    folder: Path
    reused: bool
    data_root: Path = field(default=Path("data"), compare=False)
    device: str = field(default="cpu", compare=False)
    measured: Metrics | None = field(default=None, compare=False)

    @property
    def metrics(self) -> dict[str, float]:
        """T1, U, S and H in percent; AUSUC from 0 to 1."""
        return self.record.metrics.model_dump() if self.measured is None else self.measured.metrics

    @property
    def per_class(self) -> dict[str, float | None]:
        """Class name -> accuracy among all classes in percent; None without test images."""
        if self.measured is None:
            return dict(self.record.per_class)
        found = zip(self.scores.classes, self.measured.per_class.tolist(), strict=True)
        return {name: None if math.isnan(value) else value for name, value in found}

    @property
    def gamma(self) -> float:
        """Calibration: the value added to the scores of unseen classes."""
        return self.record.protocol.gamma if self.measured is None else self.measured.gamma

    @property
    def gamma_source(self) -> str:
        """Where gamma is from: "not calibrated", "from validation" or "given by hand"."""
        if self.gamma != self.record.protocol.gamma:
            return "given by hand"
        calibration = self.record.protocol.calibration
        return {"none": "not calibrated", "validation": "from validation"}[calibration]

    @cached_property
    def scores(self) -> Scores:
        """Uncalibrated scores of both test sets, with labels; DataError if missing or damaged."""
        return Run(self.record, self.folder).scores()

    @cached_property
    def attributes(self) -> AttributeScores | None:
        """Attribute scores of both test sets, None if there are none; raises as `scores`."""
        return Run(self.record, self.folder).attributes()

    @cached_property
    def model(self) -> TrainedModel:
        """The trained model, for photos or for a tensor of what it eats.

        Runs on photos need no dataset. A run on features that came with its dataset needs it.

        Raises:
            UserError: The model, its backbone or a needed dataset is missing.
            DataError: A file is damaged or does not belong to the run.
        """
        from zslkit.runs.load_portable import load_without_dataset
        from zslkit.runs.trained import TrainedModel
        from zslkit.utils.devices import choose_device

        if "loaded" in self.__dict__ or self.record.features.size is None:
            return TrainedModel(self.loaded)
        device = choose_device(self.device)
        return TrainedModel(load_without_dataset(self.folder, self.data_root, device))

    @cached_property
    def loaded(self) -> LoadedRun:
        """The run with its dataset, which must be that of the run; raises as `model`."""
        from zslkit.runs.load import load_with_dataset
        from zslkit.utils.devices import choose_device

        return load_with_dataset(self.folder, self.data_root, choose_device(self.device))

    @property
    def dataset(self) -> Dataset:
        """The dataset of the run; raises as `loaded`."""
        return self.loaded.dataset

    def __repr__(self) -> str:
        record, metrics = self.record, self.metrics
        digits = {"AUSUC": 3}
        figures = [f"{name} {value:.{digits.get(name, 1)}f}" for name, value in metrics.items()]
        return (
            f"{record.model.name} on {record.dataset.name}, seed {record.seed}: "
            f"{', '.join(figures)}, gamma {self.gamma:.3g} ({self.gamma_source}), {self.folder}"
        )


def open_run(folder: str | Path, data_root: str | Path = "data", device: str = "cpu") -> Result:
    """Open a finished run: its record, its scores, and its model.

    Args:
        folder: The run folder; a pattern such as "runs/digits/eszsl/seed0-*" that fits one.
        data_root: Folder that holds the datasets, or the path of a dataset card. Read only where
            the dataset is needed.
        device: Device of the model, "auto" or a name that torch accepts.

    Raises:
        UserError: There is no finished run, or the pattern fits several.
        DataError: The record is damaged, or the scores beside it contradict it.
    """
    found = runs_at(str(folder), lambda sentence: None)
    if len(found) > 1:
        names = listed([str(run.folder) for run in found], 3)
        raise UserError(f"{len(found)} runs are at {folder} ({names}); name one")
    (run,) = found
    check_kept(run)
    return Result(run.record, run.folder, True, Path(data_root), device)


@overload
def evaluate(run: Result | str | Path, gamma: float | None = None) -> Result: ...
@overload
def evaluate(
    test_seen_scores: ScoreTable,
    test_seen_labels: Index,
    test_unseen_scores: ScoreTable,
    test_unseen_labels: Index,
    seen: Mask,
    gamma: float = 0.0,
) -> Metrics: ...
def evaluate(*arguments: Any, **named: Any) -> Result | Metrics:
    """Compute all metrics, of a finished run or of any scores.

    `evaluate(run)` measures a run (a `Result` or its folder) anew from the scores that it kept,
    under its own gamma, and returns what `run` returns. `evaluate(run, gamma=0)` takes another.

    `evaluate(test_seen_scores, test_seen_labels, test_unseen_scores, test_unseen_labels, seen)`
    measures scores (N, C) and labels (N,) of both test sets, and returns `Metrics`; see
    `zslkit.evaluation.gzsl.evaluate`.

    Raises:
        UserError: There is no finished run, or gamma is NaN.
        DataError: Scores are missing, damaged, or do not fit their labels.
    """
    first = named.get("run", arguments[0] if arguments else None)
    if isinstance(first, (Result, str, os.PathLike)):
        return _of_run(*arguments, **named)
    return gzsl.evaluate(*arguments, **named)


def _of_run(run: Result | str | Path, gamma: float | None = None) -> Result:
    result = run if isinstance(run, Result) else open_run(run)
    own = result.record.protocol.gamma
    if gamma is None:
        check_kept(Run(result.record, result.folder))
    measured = gzsl.evaluate(*result.scores.sets(), gamma=own if gamma is None else gamma)
    return replace(result, measured=measured)
