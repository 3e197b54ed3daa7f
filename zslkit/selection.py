"""Everything that is picked, and picked on folds inside trainval alone: settings, epoch, mixes and gamma."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from zslkit import ranks
from zslkit.dataset import Dataset
from zslkit.errors import TrainingError
from zslkit.evaluation.gzsl import VALIDATION_NAMES, measure, peak
from zslkit.evaluation.sets import answered_sets
from zslkit.fitting import fit, make_model
from zslkit.model import GradientConfig, GradientModel, Model, ModelConfig
from zslkit.progress import Reporter
from zslkit.scoring import score_both
from zslkit.search import LOST, Point, Search, Tried, Tries, in_turn
from zslkit.settings import Plan
from zslkit.training import checkpoint
from zslkit.training.source import Inputs


@dataclass(frozen=True)
class Picks:
    """What validation chose. config holds the chosen settings, epochs included.

    gamma and figures (in percent, AUSUC 0..1) are means over the folds.
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
class Workshop:
    """What every training on the folds needs. tries: tries points of the grid elsewhere; None: here, one after another."""

    plan: Plan
    folds: Sequence[Fold]
    seed: int
    device: torch.device
    reporter: Reporter
    log: Callable[..., None]
    folder: Path
    tries: Tries | None = None


@dataclass(frozen=True)
class Trained:
    """A model trained on a fold, at its best epoch if the plan selects one; history: the figures after every epoch, else empty."""

    fold: Fold
    model: Model
    history: Sequence[Mapping[str, float]] = ()


def needed(plan: Plan) -> bool:
    """Whether the plan picks anything, and so needs a fold at all."""
    protocol = plan.protocol
    by_epoch = protocol.selection == "validation" and issubclass(plan.kind, GradientModel)
    return by_epoch or protocol.calibration == "validation" or (protocol.tune and bool(plan.kind.search or plan.kind.mixes))


def pick(workshop: Workshop) -> Picks:
    """Train on the folds as often as the plan asks for, and choose by the mean of their H.

    With calibration=validation H is taken at each fold's best gamma, else at gamma 0. The epoch is the one with the best mean H;
    mixes and gamma are judged on each fold's model at the fold's own best epoch.
    """
    plan, protocol = workshop.plan, workshop.plan.protocol
    changes: dict[str, Any] = {}
    if protocol.tune and plan.kind.search:
        changes |= _search(workshop)
    config = plan.with_config(changes)
    trained = [_train(workshop, fold, config, _named("validation", fold)) for fold in workshop.folds]
    if protocol.tune and plan.kind.mixes:
        mixes = _mix(workshop, trained)
        changes |= mixes
        config = trained[0].model.config
    if trained[0].history:
        epoch = _best_epoch([t.history for t in trained])
        changes["train.epochs"] = epoch
        assert isinstance(config, GradientConfig)
        config = config.model_copy(update={"train": config.train.model_copy(update={"epochs": epoch})})
    gamma, figures = _mean(judge(workshop, t.fold, t.model) for t in trained)
    return Picks(config, gamma, figures, changes)


def judge(workshop: Workshop, fold: Fold, model: Model) -> tuple[float, dict[str, float]]:
    """gamma (0 without calibration) and the fold's figures under it."""
    data, source, parts = fold.data, fold.inputs.source, (fold.data.split.test_seen, fold.data.split.test_unseen)
    seen, unseen = score_both(model, source, *parts, workshop.device, workshop.folder)
    of_seen, of_unseen = (data.labels[index] for index in parts)
    sets = answered_sets(seen, of_seen, unseen, of_unseen, data.seen, VALIDATION_NAMES)
    gamma = peak(sets.curve())[0] if workshop.plan.protocol.calibration == "validation" else 0.0
    return gamma, measure(sets, gamma).figures()


def _mean(judged: Iterable[tuple[float, Mapping[str, float]]]) -> tuple[float, dict[str, float]]:
    gammas, figures = zip(*judged, strict=True)
    return fmean(gammas), {name: fmean(f[name] for f in figures) for name in figures[0]}


def _named(name: str, fold: Fold) -> str:
    return f"{name}, fold {fold.part + 1}" if fold.part else name


def try_point(workshop: Workshop, point: Point) -> Tried:
    """Train on every fold with the settings of this point of the grid: the means of the figures."""
    config = workshop.plan.with_config(point)
    try:
        trained = [_train(workshop, fold, config, _named("trial", fold), quiet=True) for fold in workshop.folds]
        return Tried(_mean(judge(workshop, t.fold, t.model) for t in trained)[1])
    except TrainingError as error:  # a grid reaches into settings that do not work; the others are still worth trying
        return Tried({"H": LOST}, str(error))


def _search(workshop: Workshop) -> dict[str, Any]:
    """The best point of the grid. Raises TrainingError if none could be trained."""
    protocol = workshop.plan.protocol
    search = Search(workshop.plan.kind.search, workshop.folder / "search.json", protocol.trials, protocol.fold_seed)
    tries = workshop.tries or in_turn(lambda point: try_point(workshop, point))
    failed: list[str] = []

    def logged(points: Sequence[Point]) -> Iterator[tuple[int, Tried]]:
        for number, outcome in tries(points):
            if outcome.failed:
                failed.append(outcome.failed)
                workshop.log(phase="search", **points[number], failed=outcome.failed)
            else:
                workshop.log(phase="search", **points[number], **outcome.figures)
            yield number, outcome

    with workshop.reporter.phase("search on validation", total=search.total) as phase:
        best = search.best(logged, lambda h: phase.advance(1, H=h))
    if best is None:
        reason = f" ({failed[-1]})" if failed else ""
        raise TrainingError(f"No point of the search of {workshop.plan.entry.name} could be trained{reason}; set protocol.tune=false")
    return best


def _mix(workshop: Workshop, trained: Sequence[Trained]) -> dict[str, Any]:
    grid = workshop.plan.kind.mixes
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    before = trained[0].model.config
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        for t in trained:
            t.model.config = before.model_copy(update=point)
        figures = _mean(judge(workshop, t.fold, t.model) for t in trained)[1]
        workshop.log(phase="mix", **point, **figures)
        if figures["H"] > best[0]:
            best = (figures["H"], point)
    for t in trained:
        t.model.config = before.model_copy(update=best[1])
    return best[1]


def _best_epoch(histories: Sequence[Sequence[Mapping[str, float]]]) -> int:
    """The epoch with the highest mean H, among those that every fold has reached."""
    rounds = list(zip(*histories, strict=False))
    means = [fmean(h["H"] for h in at) for at in rounds]
    return int(rounds[int(np.argmax(means))][0]["epoch"])


def _train(workshop: Workshop, fold: Fold, config: ModelConfig, name: str, quiet: bool = False) -> Trained:
    w = workshop
    model = make_model(w.plan.kind, config, fold.data, fold.inputs, w.seed, w.device)
    selects = w.plan.protocol.selection == "validation" and isinstance(model, GradientModel)
    file = name.replace(", ", "-").replace(" ", "-")
    observer = _BestEpoch(w, fold, w.folder / f"{file}.best.pt") if selects else None
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
        observer=observer,
    )
    if observer is None or not observer.history:
        return Trained(fold, model)
    ranks.wait()  # the first process has written it
    model.load_state_dict(checkpoint.load(observer.path))
    return Trained(fold, model, observer.history)


class _BestEpoch:
    """Keeps the weights of the epoch with the highest H on the fold, and stops when patience is at its end."""

    def __init__(self, workshop: Workshop, fold: Fold, path: Path) -> None:
        self.history: list[dict[str, float]] = []
        self.path, self._workshop, self._fold = path, workshop, fold

    @property
    def best(self) -> dict[str, float]:
        return self.history[int(np.argmax([h["H"] for h in self.history]))]

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        gamma, figures = judge(self._workshop, self._fold, model)
        self.history.append({"epoch": float(epoch), "gamma": gamma, **figures})
        if self.best["epoch"] == epoch and ranks.first():
            checkpoint.save(self.path, model.state_dict())
        self._workshop.log(phase="validation", fold=self._fold.part, epoch=epoch, gamma=gamma, **figures)
        patience = self._workshop.plan.protocol.patience
        stop = bool(patience) and epoch - self.best["epoch"] >= patience
        self.history[-1]["stop"] = float(stop)
        return stop
