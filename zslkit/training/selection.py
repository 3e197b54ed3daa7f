"""Everything that is picked, and picked on folds inside trainval alone: settings, epoch, mixes and gamma."""

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
from zslkit.training.plan import Plan
from zslkit.training.scoring import score_both
from zslkit.training.search import LOST, TRIED, Point, Search, TrialExecutor, TrialResult, in_turn
from zslkit.utils import distributed
from zslkit.utils.progress import Reporter


@dataclass(frozen=True)
class Selection:
    """What validation chose. config holds the chosen settings, epochs included.

    gamma: one for all folds. figures (in percent, AUSUC 0..1): means over the folds under that gamma, at the chosen epoch.
    """

    config: ModelConfig
    gamma: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fold:
    """A validation dataset made inside trainval (`Dataset.fold`), and the inputs of its images. part: its number, from 0."""

    part: int
    data: Dataset
    inputs: Inputs


@dataclass(frozen=True)
class ValidationContext:
    """What every training on the folds needs. tries: tries points of the grid elsewhere; None: here, one after another."""

    plan: Plan
    folds: Sequence[Fold]
    seed: int
    device: torch.device
    reporter: Reporter
    log: Callable[..., None]
    folder: Path
    executor: TrialExecutor | None = None


@dataclass(frozen=True)
class TrainedFold:
    """A model trained on a fold, at the fold's own best epoch if the plan selects one.

    history: a row for every epoch, else empty: the figures and what `Judged` holds beside them.
    """

    fold: Fold
    model: Model
    history: Sequence[Mapping[str, Any]] = ()


def needed(plan: Plan) -> bool:
    """Whether the plan picks anything, and so needs a fold at all."""
    return plan.picks


def pick(context: ValidationContext) -> Selection:
    """Train on the folds as often as the plan asks for, and choose by the mean of their H.

    Whatever is picked is one for all folds, and is judged as it is used: a gamma, an epoch or a point of the grid by the mean H of the
    folds under one gamma (with calibration=validation the one with the highest mean H, else 0) and at one epoch.
    """
    plan, protocol = context.plan, context.plan.protocol
    changes: dict[str, Any] = {}
    if protocol.tune and plan.kind.search:
        changes |= _search(context)
    config = plan.with_config(changes)
    trained = [_train(context, fold, config, _named("validation", fold)) for fold in context.folds]
    epoch, with_significance = _judged(context, trained)
    if protocol.tune and plan.kind.mixes:
        mixes, with_significance = _mix(
            context, [_at_epoch(context, t, config, epoch) for t in trained], changes
        )
        changes |= mixes
        config = plan.with_config(changes)
    if epoch is not None:
        changes["train.epochs"] = epoch
        assert isinstance(config, GradientConfig)
        config = config.model_copy(
            update={"train": config.train.model_copy(update={"epochs": epoch})}
        )
    gamma, figures = together(with_significance)
    return Selection(config, gamma, figures, changes)


def judge(context: ValidationContext, fold: Fold, model: Model) -> Judged:
    """What the fold says of the model as it is."""
    data, source, parts = (
        fold.data,
        fold.inputs.source,
        (fold.data.split.test_seen, fold.data.split.test_unseen),
    )
    seen, unseen = score_both(model, source, *parts, context.device, context.folder)
    of_seen, of_unseen = (data.labels[index] for index in parts)
    sets = answered_sets(seen, of_seen, unseen, of_unseen, data.seen, VALIDATION_NAMES)
    if context.plan.protocol.calibration != "validation":
        return Judged(0.0, measure(sets).figures())
    curve = sets.curve()
    gamma = peak(curve)[0]
    return Judged(gamma, measure(sets, gamma).figures(), curve if len(context.folds) > 1 else None)


def _judged(
    context: ValidationContext, trained: Sequence[TrainedFold]
) -> tuple[int | None, list[Judged]]:
    """The best epoch, None where none is selected, and what the folds say of the models: at that epoch."""
    if trained[0].history:
        return _best_epoch([t.history for t in trained])
    return None, [judge(context, t.fold, t.model) for t in trained]


def _named(name: str, fold: Fold) -> str:
    return f"{name}, fold {fold.part + 1}" if fold.part else name


def try_point(context: ValidationContext, point: Point) -> TrialResult:
    """Train on every fold with the settings of this point of the grid: the means of the figures.

    Raises OutOfMemory if the device has no room for it: which point is best must not hang on that.
    """
    config = context.plan.with_config(point)
    try:
        trained = [
            _train(context, fold, config, _named("trial", fold), quiet=True)
            for fold in context.folds
        ]
        return TrialResult(together(_judged(context, trained)[1])[1])
    except OutOfMemory as error:
        said = ", ".join(f"{key}={value}" for key, value in point.items())
        raise OutOfMemory(
            f"The point {said} of the search could not be tried, so none is picked: {error}"
        ) from error
    except (
        TrainingError
    ) as error:  # a grid reaches into settings that do not work; the others are still worth trying
        return TrialResult({"H": LOST}, str(error))


def _search(context: ValidationContext) -> dict[str, Any]:
    """The best point of the grid. Raises TrainingError if none could be trained."""
    protocol = context.plan.protocol
    search = Search(
        context.plan.kind.search, context.folder / TRIED, protocol.trials, protocol.fold_seed
    )
    executor = context.executor or in_turn(lambda point: try_point(context, point))
    failed: list[str] = []

    def logged(points: Sequence[Point]) -> Iterator[tuple[int, TrialResult]]:
        for number, outcome in executor(points):
            if outcome.failed:
                failed.append(outcome.failed)
                context.log(phase="search", **points[number], failed=outcome.failed)
            else:
                context.log(phase="search", **points[number], **outcome.figures)
            yield number, outcome

    with context.reporter.phase("search on validation", total=search.total) as phase:
        best = search.best(logged, lambda h: phase.advance(1, H=h))
    if best is None:
        reason = f" ({failed[-1]})" if failed else ""
        raise TrainingError(
            f"No point of the search of {context.plan.entry.name} could be trained{reason}; set protocol.tune=false"
        )
    return best


def _mix(
    context: ValidationContext, trained: Sequence[TrainedFold], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Judged]]:
    """The best point of the mixes, of equally good ones the first, and what the folds say of it. The models are left with it.

    changes: what was picked before.
    """
    plan, grid = context.plan, context.plan.kind.mixes
    best: tuple[float, dict[str, Any], list[Judged]] = (-1.0, {}, [])

    def give(point: Mapping[str, Any]) -> None:
        config = plan.with_config({**changes, **point})
        for t in trained:
            t.model.config = config

    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        give(point)
        with_significance = [judge(context, t.fold, t.model) for t in trained]
        figures = together(with_significance)[1]
        context.log(phase="mix", **point, **figures)
        if figures["H"] > best[0]:
            best = (figures["H"], point, with_significance)
    give(best[1])
    return best[1:]


def _best_epoch(histories: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[int, list[Judged]]:
    """The epoch with the highest mean H, each under the one gamma that is best for all folds, among those that every fold has reached.

    Also what the folds say at that epoch.
    """
    rounds = [[_row_judged(row) for row in rows] for rows in zip(*histories, strict=False)]
    best = int(np.argmax([together(with_significance)[1]["H"] for with_significance in rounds]))
    return int(histories[0][best]["epoch"]), rounds[best]


def _best_row(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return history[int(np.argmax([row["H"] for row in history]))]


def _row(epoch: int, with_significance: Judged) -> dict[str, Any]:
    """A row of a history, of numbers and a tensor alone, as checkpoints take them."""
    curve = with_significance.curve
    kept = (
        {}
        if curve is None
        else {
            "curve": torch.from_numpy(np.concatenate([curve.breakpoints, curve.seen, curve.unseen]))
        }
    )
    return {
        "epoch": float(epoch),
        "gamma": with_significance.gamma,
        **with_significance.figures,
        **kept,
    }


def _row_judged(row: Mapping[str, Any]) -> Judged:
    figures = {
        name: value
        for name, value in row.items()
        if name not in ("epoch", "gamma", "stop", "curve")
    }
    if "curve" not in row:
        return Judged(row["gamma"], figures)
    kept = cast(Tensor, row["curve"]).numpy()
    steps = (len(kept) - 2) // 3
    return Judged(
        row["gamma"],
        figures,
        Curve(kept[:steps], kept[steps : 2 * steps + 1], kept[2 * steps + 1 :]),
    )


def _at_epoch(
    context: ValidationContext, trained: TrainedFold, config: ModelConfig, epoch: int | None
) -> TrainedFold:
    """The model at the epoch that was picked: trained again up to it where the fold alone would have picked another."""
    if epoch is None or _best_row(trained.history)["epoch"] == epoch:
        return trained
    return _train(
        context, trained.fold, config, _named("validation again", trained.fold), until=epoch
    )


def _train(
    context: ValidationContext,
    fold: Fold,
    config: ModelConfig,
    name: str,
    quiet: bool = False,
    until: int | None = None,
) -> TrainedFold:
    """Train on the fold. quiet: without a checkpoint. until: the epoch after which to stop, None to look for the best."""
    w = context
    model = make_model(w.plan.kind, config, fold.data, fold.inputs, w.seed, w.device)
    selects = w.plan.protocol.selection == "validation" and isinstance(model, GradientModel)
    file = name.replace(", ", "-").replace(" ", "-")
    best = _BestEpoch(w, fold, w.folder / f"{file}.best.pt") if selects and until is None else None
    fit(
        model,
        fold.data,
        fold.inputs,
        seed=w.seed,
        device=w.device,
        reporter=w.reporter,
        log=w.log,
        name=name,
        checkpoint=None if quiet else w.folder / f"{file}.pt",
        observer=best if until is None else _Until(until),
    )
    if best is None or not best.history:
        return TrainedFold(fold, model)
    distributed.wait()  # the first process has written it
    try:
        model.load_state_dict(checkpoint.load(best.path))
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"The weights {best.path} are not of {type(model).__name__} as it is now; remove {w.folder} to start this run afresh"
        ) from error
    return TrainedFold(fold, model, best.history)


class _Until:
    """Ends a training after an epoch before its last, so that whatever hangs on the number of epochs stays as it was."""

    def __init__(self, epoch: int) -> None:
        self.history: list[dict[str, Any]] = []
        self._last = epoch

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        self.history.append({"epoch": float(epoch), "stop": float(epoch >= self._last)})
        return epoch >= self._last


class _BestEpoch:
    """Keeps the weights of the epoch with the highest H on the fold, and stops when patience is at its end."""

    def __init__(self, context: ValidationContext, fold: Fold, path: Path) -> None:
        self.history: list[dict[str, Any]] = []
        self.path, self._workshop, self._fold = path, context, fold

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        if self.history and epoch <= self.history[-1]["epoch"]:
            raise TrainingError(
                f"{type(model).__name__}.fit calls trainer.train more than once, so there is no one epoch to pick; "
                "set protocol.selection=last"
            )
        with_significance = judge(self._workshop, self._fold, model)
        self.history.append(_row(epoch, with_significance))
        best = _best_row(self.history)["epoch"]
        if best == epoch and distributed.first():
            checkpoint.save(self.path, model.state_dict())
        self._workshop.log(
            phase="validation",
            fold=self._fold.part,
            epoch=epoch,
            gamma=with_significance.gamma,
            **with_significance.figures,
        )
        patience = self._workshop.plan.protocol.patience
        stop = bool(patience) and epoch - best >= patience
        self.history[-1]["stop"] = float(stop)
        return stop
