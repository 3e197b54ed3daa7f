"""Everything that is picked, and picked on a fold inside trainval alone: settings, epoch, mixes and gamma."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zslkit.dataset import Dataset
from zslkit.evaluation.gzsl import best_gamma, evaluate
from zslkit.fitting import fit, make_model, score
from zslkit.model import GradientConfig, GradientModel, Model, ModelConfig
from zslkit.progress import Reporter
from zslkit.settings import Plan
from zslkit.training import checkpoint
from zslkit.training.source import Inputs


@dataclass(frozen=True)
class Picks:
    """What validation chose. config holds the chosen settings, epochs included; figures are the fold's, in percent."""

    config: ModelConfig
    gamma: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workshop:
    """What every training on the fold needs."""

    plan: Plan
    fold: Dataset
    inputs: Inputs
    seed: int
    device: torch.device
    reporter: Reporter
    log: Callable[..., None]
    folder: Path


def needed(plan: Plan) -> bool:
    """Whether the plan picks anything, and so needs a fold at all."""
    protocol = plan.protocol
    by_epoch = protocol.selection == "validation" and issubclass(plan.kind, GradientModel)
    return by_epoch or protocol.calibration == "validation" or (protocol.tune and bool(plan.kind.search or plan.kind.mixes))


def pick(workshop: Workshop) -> Picks:
    """Train on the fold as often as the plan asks for, and choose by the fold's H.

    With calibration=validation H is taken at its best gamma on the fold, else at gamma 0.
    """
    plan, protocol = workshop.plan, workshop.plan.protocol
    changes: dict[str, Any] = {}
    if protocol.tune and plan.kind.search:
        changes |= _search(workshop)
    config = plan.with_config(changes)
    model, epoch = _train(workshop, config, "validation")
    if protocol.tune and plan.kind.mixes:
        mixes = _mix(workshop, model)
        changes |= mixes
        config = model.config
    if epoch is not None:
        changes["train.epochs"] = epoch
        assert isinstance(config, GradientConfig)
        config = config.model_copy(update={"train": config.train.model_copy(update={"epochs": epoch})})
    gamma, figures = judge(workshop, model)
    return Picks(config, gamma, figures, changes)


def judge(workshop: Workshop, model: Model) -> tuple[float, dict[str, float]]:
    """gamma (0 without calibration) and the fold's figures under it."""
    fold, source = workshop.fold, workshop.inputs.source
    scores = {part: score(model, source, index, workshop.device) for part, index in fold.split.parts().items() if part != "trainval"}
    tables = (
        scores["test_seen"],
        fold.labels[fold.split.test_seen],
        scores["test_unseen"],
        fold.labels[fold.split.test_unseen],
        fold.seen,
    )
    gamma = best_gamma(*tables)[0] if workshop.plan.protocol.calibration == "validation" else 0.0
    return gamma, evaluate(*tables, gamma).figures()


def _search(workshop: Workshop) -> dict[str, Any]:
    grid = workshop.plan.kind.search
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    with workshop.reporter.phase("search on validation", total=len(points)) as phase:
        for i, point in enumerate(points):
            model, _ = _train(workshop, workshop.plan.with_config(point), f"search-{i}", quiet=True)
            _, figures = judge(workshop, model)
            workshop.log(phase="search", **point, **figures)
            if figures["H"] > best[0]:
                best = (figures["H"], point)
            phase.advance(1, H=figures["H"])
    return best[1]


def _mix(workshop: Workshop, model: Model) -> dict[str, Any]:
    grid = workshop.plan.kind.mixes
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    before = model.config
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        model.config = before.model_copy(update=point)
        _, figures = judge(workshop, model)
        workshop.log(phase="mix", **point, **figures)
        if figures["H"] > best[0]:
            best = (figures["H"], point)
    model.config = before.model_copy(update=best[1])
    return best[1]


def _train(workshop: Workshop, config: ModelConfig, name: str, quiet: bool = False) -> tuple[Model, int | None]:
    """The model trained on the fold's trainval, at its best epoch if the plan selects one; and that epoch."""
    w = workshop
    model = make_model(w.plan.kind, config, w.fold, w.inputs, w.seed, w.device)
    selects = w.plan.protocol.selection == "validation" and isinstance(model, GradientModel)
    observer = _BestEpoch(w, w.folder / f"{name}.best.pt") if selects else None
    path = None if quiet else w.folder / f"{name}.pt"
    fit(
        model,
        w.fold,
        w.inputs,
        seed=w.seed,
        device=w.device,
        reporter=w.reporter,
        log=w.log,
        name=name,
        checkpoint=path,
        observer=observer,
    )
    if observer is None or not observer.history:
        return model, None
    model.load_state_dict(checkpoint.load(observer.path))
    return model, int(observer.best["epoch"])


class _BestEpoch:
    """Keeps the weights of the epoch with the highest H on the fold, and stops when patience is at its end."""

    def __init__(self, workshop: Workshop, path: Path) -> None:
        self.history: list[dict[str, float]] = []
        self.path, self._workshop = path, workshop

    @property
    def best(self) -> dict[str, float]:
        return self.history[int(np.argmax([h["H"] for h in self.history]))]

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        gamma, figures = judge(self._workshop, model)
        self.history.append({"epoch": float(epoch), "gamma": gamma, **figures})
        if self.best["epoch"] == epoch:
            checkpoint.save(self.path, model.state_dict())
        self._workshop.log(phase="validation", epoch=epoch, gamma=gamma, **figures)
        patience = self._workshop.plan.protocol.patience
        stop = bool(patience) and epoch - self.best["epoch"] >= patience
        self.history[-1]["stop"] = float(stop)
        return stop
