"""Selects settings, epoch, mixes and gamma on validation folds inside trainval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from zslkit.dataset import Dataset
from zslkit.errors import DataError, OutOfMemory, TrainingError
from zslkit.evaluation.folds import Judged, together
from zslkit.evaluation.gzsl import VALIDATION_NAMES, measure, peak
from zslkit.evaluation.metrics import Curve
from zslkit.evaluation.sets import answered_sets
from zslkit.model import GradientConfig, GradientModel, Model, ModelConfig
from zslkit.training import checkpoint
from zslkit.training.fit import fit, make_model
from zslkit.training.inputs import Inputs
from zslkit.training.loop import Loop
from zslkit.training.plan import Plan
from zslkit.training.scoring import score_both
from zslkit.training.search import LOST, TRIED, Point, Search, TrialExecutor, TrialResult, in_turn
from zslkit.utils import distributed
from zslkit.utils.progress import Reporter


@dataclass(frozen=True)
class Selection:
    """Values selected on validation: settings (`changes`, in `config` too) and one gamma for all.

    `figures` are means over the folds under gamma, at the selected epoch, in percent (AUSUC 0..1).
    """

    config: ModelConfig
    gamma: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    calibrated: bool = False


@dataclass(frozen=True)
class Fold:
    """A validation dataset inside trainval (`Dataset.fold`), its inputs, and its number from 0."""

    part: int
    data: Dataset
    inputs: Inputs


@dataclass(frozen=True)
class ValidationContext:
    """Everything that trainings on the folds need.

    Attributes:
        log: Called with the values of each log line.
        folder: Folder for files that the trainings leave behind.
        executor: Tries points of the grid, for instance in other processes; None for this process.
    """

    plan: Plan
    folds: Sequence[Fold]
    seed: int
    device: torch.device
    reporter: Reporter
    log: Callable[..., None]
    folder: Path
    executor: TrialExecutor | None = None

    @property
    def calibrates(self) -> bool:
        """Whether gamma is selected: it is asked for, and two classes or more are held out.

        Among one held-out class every answer is right, so the best gamma would be a matter of that
        class alone.
        """
        held_out = sum(int(np.count_nonzero(~fold.data.seen)) for fold in self.folds)
        return self.plan.protocol.calibration == "validation" and held_out > 1

    def trained(
        self, fold: Fold, config: ModelConfig, name: str, **how: Any
    ) -> tuple[Model, float]:
        """A new model, trained on the fold, and the seconds; `how`: more arguments of `Loop`."""
        data, inputs, kind = fold.data, fold.inputs, self.plan.model_class
        model = make_model(kind, config, data, inputs, self.seed, self.device)
        how |= {"seed": self.seed, "device": self.device, "reporter": self.reporter}
        return model, fit(model, data, inputs, Loop(log=self.log, name=name, **how))


@dataclass(frozen=True)
class TrainedFold:
    """A model trained on a fold, at the fold's own best epoch if the plan selects one.

    Attributes:
        history: One row per epoch (`_row`) if the plan selects an epoch, else empty.
    """

    fold: Fold
    model: Model
    history: Sequence[Mapping[str, Any]] = ()


def pick(context: ValidationContext) -> Selection:
    """Train on the folds as often as the plan needs, and select by the mean H over folds.

    Every selected value is the same for all folds and is judged as it is used later: epochs and
    points of the grid by the mean H at one epoch under one gamma. That gamma has the highest mean H
    (calibration=validation) or is 0.
    """
    plan, protocol = context.plan, context.plan.protocol
    changes: dict[str, Any] = {}
    if protocol.calibration == "validation" and not context.calibrates:
        context.reporter.note(
            f"{context.folds[0].data.name} holds out one class, too few to pick gamma on: "
            "this run is not calibrated"
        )
    if protocol.tune and plan.model_class.search:
        changes |= _search(context)
    config = plan.with_config(changes)
    trained = [_train(context, fold, config, "validation") for fold in context.folds]
    epoch, judged = _judged(context, trained)
    if protocol.tune and plan.model_class.mixes:
        there = [_at_epoch(context, t, config, epoch) for t in trained]
        mixes, judged = _mix(context, there, changes)
        changes |= mixes
        config = plan.with_config(changes)
    if epoch is not None:
        changes["train.epochs"] = epoch
        assert isinstance(config, GradientConfig)
        train = {"epochs": epoch}
        if config.train.over_time:
            # The fold was judged in the middle of schedules over all epochs.
            train["schedule_epochs"] = config.train.shares_epochs
            changes["train.schedule_epochs"] = config.train.shares_epochs
        config = config.model_copy(update={"train": config.train.model_copy(update=train)})
    gamma, figures = together(judged)
    return Selection(config, gamma, figures, changes, context.calibrates)


def judge(context: ValidationContext, fold: Fold, model: Model) -> Judged:
    """Evaluate the model on the fold."""
    data, source = fold.data, fold.inputs.source
    parts = data.split.test_seen, data.split.test_unseen
    seen, unseen = score_both(model, source, *parts, context.device, context.folder)
    of_seen, of_unseen = (data.labels[index] for index in parts)
    sets = answered_sets(seen, of_seen, unseen, of_unseen, data.seen, VALIDATION_NAMES)
    if not context.calibrates:
        return Judged(0.0, measure(sets).figures())
    curve = sets.curve()
    gamma = peak(curve)[0]
    return Judged(gamma, measure(sets, gamma).figures(), curve if len(context.folds) > 1 else None)


def _judged(
    context: ValidationContext, trained: Sequence[TrainedFold]
) -> tuple[int | None, list[Judged]]:
    """The best epoch (None if none is selected) and the folds' results at that epoch."""
    if trained[0].history:
        return _best_epoch([t.history for t in trained])
    return None, [judge(context, t.fold, t.model) for t in trained]


def try_point(context: ValidationContext, point: Point) -> TrialResult:
    """Train on every fold with the settings of a point of the grid.

    The result has the means of the figures over folds, or the reason why the training failed.

    Raises:
        OutOfMemory: The device is too small; the selected point must not depend on that.
    """
    config = context.plan.with_config(point)
    try:
        trained = [_train(context, fold, config, "trial", quiet=True) for fold in context.folds]
        return TrialResult(together(_judged(context, trained)[1])[1])
    except OutOfMemory as error:
        settings = ", ".join(f"{key}={value}" for key, value in point.items())
        raise OutOfMemory(
            f"The point {settings} of the search could not be tried, so none is picked: {error}"
        ) from error
    except TrainingError as error:
        # A grid may hold settings that fail; the other points still count.
        return TrialResult({"H": LOST}, str(error))


def _search(context: ValidationContext) -> dict[str, Any]:
    """The best point of the grid; TrainingError if none could be trained."""
    protocol = context.plan.protocol
    search = Search(
        context.plan.model_class.search, context.folder / TRIED, protocol.trials, protocol.fold_seed
    )
    executor = context.executor or in_turn(lambda point: try_point(context, point))
    failed: list[str] = []
    highest: list[float] = []

    def logged(points: Sequence[Point]) -> Iterator[tuple[int, TrialResult]]:
        for number, outcome in executor(points):
            failed.extend([outcome.failed] if outcome.failed else [])
            told = {"failed": outcome.failed} if outcome.failed else outcome.figures
            context.log(phase="search", **points[number], **told)
            yield number, outcome

    with context.reporter.phase("search on validation", total=search.total) as phase:

        def counted(h: float) -> None:
            highest[:] = [max([h, *highest])]
            phase.advance(1, **({"best H": highest[0]} if highest[0] > LOST else {}))

        best = search.best(logged, counted)
    if best is None:
        reason = f" ({failed[-1]})" if failed else ""
        raise TrainingError(
            f"No point of the search of {context.plan.entry.name} could be trained{reason}; "
            "set protocol.tune=false"
        )
    return best


def _mix(
    context: ValidationContext, trained: Sequence[TrainedFold], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Judged]]:
    """Select the best point of the mixes, the first of equals; the models keep it.

    Returns the point, which joins the `changes` selected before, and the folds' results.
    """
    plan, grid = context.plan, context.plan.model_class.mixes
    best: tuple[float, dict[str, Any], list[Judged]] = (-1.0, {}, [])

    def set_point(point: Mapping[str, Any]) -> None:
        config = plan.with_config({**changes, **point})
        for t in trained:
            t.model.config = config

    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        set_point(point)
        judged = [judge(context, t.fold, t.model) for t in trained]
        figures = together(judged)[1]
        context.log(phase="mix", **point, **figures)
        if figures["H"] > best[0]:
            best = (figures["H"], point, judged)
    set_point(best[1])
    return best[1:]


def _best_epoch(histories: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[int, list[Judged]]:
    """The epoch with the highest mean H among those that every fold has reached, and its results.

    The H of an epoch is taken under the gamma with the highest mean H over the folds.
    """
    rounds = [[_row_judged(row) for row in rows] for rows in zip(*histories, strict=False)]
    best = int(np.argmax([together(judged)[1]["H"] for judged in rounds]))
    return int(histories[0][best]["epoch"]), rounds[best]


def _best_row(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return history[int(np.argmax([row["H"] for row in history]))]


def _row(epoch: int, judged: Judged) -> dict[str, Any]:
    """A history row of numbers and one tensor, which a checkpoint can hold."""
    row = {"epoch": float(epoch), "gamma": judged.gamma, **judged.figures}
    if (curve := judged.curve) is None:
        return row
    kept = np.concatenate([curve.breakpoints, curve.seen, curve.unseen])
    return {**row, "curve": torch.from_numpy(kept)}


def _row_judged(row: Mapping[str, Any]) -> Judged:
    others = ("epoch", "gamma", "stop", "curve")
    figures = {name: value for name, value in row.items() if name not in others}
    if "curve" not in row:
        return Judged(row["gamma"], figures)
    kept = cast(Tensor, row["curve"]).numpy()
    steps = (len(kept) - 2) // 3
    curve = Curve(*np.split(kept, [steps, 2 * steps + 1]))
    return Judged(row["gamma"], figures, curve)


def _at_epoch(
    context: ValidationContext, trained: TrainedFold, config: ModelConfig, epoch: int | None
) -> TrainedFold:
    """The model at the selected epoch; trained again if the fold's own best epoch differs."""
    if epoch is None or _best_row(trained.history)["epoch"] == epoch:
        return trained
    return _train(context, trained.fold, config, "validation again", until=epoch)


def _train(
    context: ValidationContext,
    fold: Fold,
    config: ModelConfig,
    name: str,
    quiet: bool = False,
    until: int | None = None,
) -> TrainedFold:
    """Train a model on the fold; `name` is that of the training, without the fold.

    `quiet` writes no checkpoint. `until` stops after this epoch; None keeps the best epoch.
    """
    plan, folder = context.plan, context.folder
    name = f"{name}, fold {fold.part + 1}" if fold.part else name
    by_epoch = issubclass(plan.model_class, GradientModel) and until is None
    file = name.replace(", ", "-").replace(" ", "-")
    best = None
    if plan.protocol.selection == "validation" and by_epoch:
        best = _BestEpoch(context, fold, folder / f"{file}.best.pt")
    model, _ = context.trained(
        fold,
        config,
        name,
        checkpoint_path=None if quiet else folder / f"{file}.pt",
        observer=best if until is None else _Until(until),
    )
    if best is None or not best.history:
        return TrainedFold(fold, model)
    distributed.wait()  # until the first process has written the weights
    try:
        model.load_state_dict(checkpoint.load(best.path))
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"The weights {best.path} are not of {type(model).__name__} as it is now; "
            f"remove {folder} to start this run afresh"
        ) from error
    return TrainedFold(fold, model, best.history)


class _Until:
    """Stops a training early, so that schedules over the number of epochs stay as they were."""

    def __init__(self, epoch: int) -> None:
        self.history: list[dict[str, Any]] = []
        self._last = epoch

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        self.history.append({"epoch": float(epoch), "stop": float(epoch >= self._last)})
        return epoch >= self._last


class _BestEpoch:
    """Keeps the weights of the epoch with the highest H on the fold; stops after `patience`."""

    def __init__(self, context: ValidationContext, fold: Fold, path: Path) -> None:
        self.history: list[dict[str, Any]] = []
        self.path, self._context, self._fold = path, context, fold

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        if self.history and epoch <= self.history[-1]["epoch"]:
            raise TrainingError(
                f"{type(model).__name__}.fit calls trainer.train more than once, "
                "so there is no one epoch to pick; set protocol.selection=last"
            )
        judged = judge(self._context, self._fold, model)
        self.history.append(_row(epoch, judged))
        best = _best_row(self.history)["epoch"]
        if best == epoch and distributed.first():
            checkpoint.save(self.path, model.state_dict())
        figures = {"gamma": judged.gamma, **judged.figures}
        self._context.log(phase="validation", fold=self._fold.part, epoch=epoch, **figures)
        patience = self._context.plan.protocol.patience
        stop = bool(patience) and epoch - best >= patience
        self.history[-1]["stop"] = float(stop)
        return stop
