"""What is picked is picked on a fold inside trainval: no image of a test set is ever read for
it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zslkit.config import FeatureConfig, ProtocolConfig
from zslkit.dataset import Dataset, Index, Split
from zslkit.errors import DataError, OutOfMemory, TrainingError
from zslkit.model import (
    GradientConfig,
    GradientModel,
    Model,
    ModelConfig,
    Task,
    Trainer,
    TrainingView,
)
from zslkit.registry import Entry
from zslkit.runs.plan import make_plan
from zslkit.semantics import Semantics
from zslkit.training import loop, selection
from zslkit.training.inputs import Inputs
from zslkit.training.plan import Plan
from zslkit.training.selection import ValidationContext
from zslkit.utils.progress import Silent


@dataclass(frozen=True)
class Guarded:
    """Features of the images, which refuses those it must not give."""

    features: np.ndarray
    allowed: frozenset[int]
    given: set[int]

    def batch(self, index: Index) -> Tensor:
        assert set(index.tolist()) <= self.allowed, (
            "an image of a test set was read while something was picked"
        )
        self.given.update(index.tolist())
        return torch.from_numpy(self.features[index])


@pytest.fixture
def data() -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 10)
    table = rng.random((8, 6), dtype=np.float32)
    features = (
        table[labels] @ rng.standard_normal((6, 12)) + 0.1 * rng.standard_normal((80, 12))
    ).astype(np.float32)
    order = np.arange(80)
    seen = order[labels < 6]
    split = Split(seen[seen % 5 > 0], seen[seen % 5 == 0], order[labels >= 6])
    names = tuple(f"a{i}" for i in range(6))
    return Dataset(
        "made", tuple("abcdefgh"), labels, split, Semantics(table, names), features=features
    )


def picked(
    data: Dataset, tmp_path: Path, settings: list[str]
) -> tuple[selection.Selection, set[int], list[dict[str, Any]]]:
    assert data.features is not None
    plan, given, log = (
        make_plan("eszsl", "digits", settings=settings),
        set[int](),
        list[dict[str, Any]](),
    )
    source = Guarded(np.asarray(data.features), frozenset(data.split.trainval.tolist()), given)
    inputs = Inputs(source, "pooled", (12,), None, None, "", "", "", "", None)
    shop = selection.ValidationContext(
        plan,
        [selection.Fold(0, data.fold(0), inputs)],
        0,
        torch.device("cpu"),
        Silent(),
        lambda **v: log.append(v),
        tmp_path,
    )
    return selection.pick(shop), given, log


def test_search_and_gamma_see_trainval_alone(data: Dataset, tmp_path: Path) -> None:
    picks, given, log = picked(
        data, tmp_path, ["protocol.tune=true", "protocol.calibration=validation"]
    )
    assert given == set(data.split.trainval.tolist())  # all of it, and (Guarded) nothing else
    points = [line for line in log if line["phase"] == "search"]
    best = max(points, key=lambda line: line["H"])
    assert len(points) == 49 and picks.figures["H"] == pytest.approx(best["H"])
    assert all(picks.changes[key] == best[key] for key in picks.changes)
    assert np.isfinite(picks.gamma)


def test_without_calibration_gamma_is_nothing(data: Dataset, tmp_path: Path) -> None:
    picks, _, _ = picked(data, tmp_path, ["protocol.tune=true", "protocol.calibration=none"])
    assert picks.gamma == 0.0


def test_nothing_to_pick_needs_no_fold() -> None:
    settings = ["protocol.tune=false", "protocol.calibration=none"]
    assert not selection.needed(make_plan("eszsl", "digits", settings=settings))
    assert selection.needed(
        make_plan("dedn", "digits", settings=[*settings, "protocol.selection=validation"])
    )


class HandConfig(ModelConfig):
    quality: float = 1.0
    bias: float = 0.0
    mix: float = 0.5


class ByHand(Model):
    """Right where quality > 0 and mix = 0.5, once it is calibrated by what seen classes are ahead
    (bias)."""

    inputs = ("pooled",)
    Config = HandConfig

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.log(fits=1)

    def scores(self, x: Tensor) -> Tensor:
        right = self.config.quality * (1 if self.config.mix == 0.5 else -1)
        answer: Tensor = right * x @ self.attributes.T + self.config.bias * self.seen
        return answer


class Searched(ByHand):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"quality": (-1.0, 0.5, 1.0)}


class Mixed(ByHand):
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {"mix": (0.0, 0.25, 0.5, 0.75)}


class Both(ByHand):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "quality": (-1.0, 2.0),
        "attributes": ("l2", "none"),
    }
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {"mix": (0.0, 0.5), "bias": (10.0, 0.0)}


class TickingConfig(GradientConfig):
    speed: float = 1.0


class Ticking(GradientModel):
    """Its one weight grows by `speed` an epoch, and unseen classes are hidden behind seen ones
    unless it is 2."""

    inputs = ("pooled",)
    Config = TickingConfig

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.w = nn.Parameter(torch.zeros(()))

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.attributes.T + 10 * (self.w - 2).abs() * self.seen

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"down": -self.config.speed * self.w}


class Rising(Ticking):
    """Unseen classes are hidden unless the weight is near 2."""

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.attributes.T + 10 * ((self.w - 2).abs() > 0.5) * self.seen


class SpeedSearch(Ticking):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"speed": (0.5, 2.0)}


class StepSearch(Ticking):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"train.lr": (0.5, 2.0)}


TICK = {
    "epochs": 5,
    "steps_per_epoch": 1,
    "optimizer": "sgd",
    "lr": 1.0,
    "momentum": 0.0,
    "weight_decay": 0.0,
}


def shop(
    data: Dataset,
    folder: Path,
    kind: type[Model],
    config: dict[str, Any],
    log: list[dict[str, Any]],
    **protocol: Any,
) -> ValidationContext:
    """A workshop on images whose features are their class's own attribute, behind a guard."""
    table = np.eye(8, dtype=np.float32)
    marked = replace(data, semantics=Semantics(table, tuple("stuvwxyz")))
    source = Guarded(table[data.labels], frozenset(data.split.trainval.tolist()), set())
    inputs = Inputs(source, "pooled", (8,), None, None, "", "", "", "", None)
    entry = Entry(
        "mine", "mine:Mine", "mine", "1", EntryPoint("mine", "mine:Mine", "zslkit.models")
    )
    plan = Plan(
        entry,
        kind,
        FeatureConfig(),
        ProtocolConfig.model_validate(protocol),
        kind.Config.model_validate(config),
    )
    folds = [
        selection.Fold(part, marked.fold(0, part), inputs) for part in range(plan.protocol.folds)
    ]
    return ValidationContext(
        plan, folds, 0, torch.device("cpu"), Silent(), lambda **line: log.append(line), folder
    )


def lines(log: list[dict[str, Any]], phase: str, key: str) -> list[Any]:
    return [line[key] for line in log if line["phase"] == phase and key in line]


def test_gamma_is_the_middle_of_what_is_right_on_the_fold(data: Dataset, tmp_path: Path) -> None:
    # Unseen images need gamma > 10 - 1, seen ones gamma < 10 + 1.
    picks = selection.pick(shop(data, tmp_path, ByHand, {"bias": 10}, [], calibration="validation"))
    assert (picks.gamma, picks.figures["H"], picks.changes) == (10.0, 100.0, {})
    plain = selection.pick(shop(data, tmp_path, ByHand, {"bias": 10}, []))
    assert (plain.gamma, plain.figures["H"], plain.figures["S"]) == (0.0, 0.0, 100.0)


def test_search_takes_the_first_of_the_best_points(data: Dataset, tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    picks = selection.pick(shop(data, tmp_path, Searched, {"quality": -3}, log, tune=True))
    assert lines(log, "search", "quality") == [-1.0, 0.5, 1.0]
    assert lines(log, "search", "H") == [0.0, 100.0, 100.0]
    assert (picks.changes, picks.config) == ({"quality": 0.5}, HandConfig(quality=0.5))
    untuned = selection.pick(shop(data, tmp_path, Searched, {"quality": -3}, []))
    assert (untuned.changes, untuned.config) == ({}, HandConfig(quality=-3))


def test_mixes_are_picked_on_one_trained_model(data: Dataset, tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    picks = selection.pick(shop(data, tmp_path, Mixed, {"mix": 0.0}, log, tune=True))
    assert lines(log, "mix", "mix") == [0.0, 0.25, 0.5, 0.75]
    assert (picks.changes, picks.config, picks.figures["H"]) == (
        {"mix": 0.5},
        HandConfig(mix=0.5),
        100.0,
    )
    assert sum("fits" in line for line in log) == 1
    untuned = selection.pick(shop(data, tmp_path, Mixed, {"mix": 0.0}, []))
    assert (untuned.changes, untuned.config) == ({}, HandConfig(mix=0.0))


def test_search_tries_every_pair_and_mixes_come_after(data: Dataset, tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    picks = selection.pick(shop(data, tmp_path, Both, {}, log, tune=True))
    pairs = list(
        zip(lines(log, "search", "quality"), lines(log, "search", "attributes"), strict=True)
    )
    assert pairs == [(-1.0, "l2"), (-1.0, "none"), (2.0, "l2"), (2.0, "none")]
    mixes = zip(
        lines(log, "mix", "mix"),
        lines(log, "mix", "bias"),
        lines(log, "mix", "S"),
        lines(log, "mix", "H"),
        strict=True,
    )
    assert list(mixes) == [
        (0.0, 10.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0),
        (0.5, 10.0, 100.0, 0.0),
        (0.5, 0.0, 100.0, 100.0),
    ]
    assert picks.changes == {"quality": 2.0, "attributes": "l2", "mix": 0.5, "bias": 0.0}
    assert picks.config == HandConfig(quality=2.0)
    assert sum("fits" in line for line in log) == 4 + 1


@pytest.mark.parametrize(("patience", "looked_at"), [(0, 5), (1, 3), (2, 4)])
def test_the_best_epoch_is_picked_and_patience_ends(
    data: Dataset, tmp_path: Path, patience: int, looked_at: int
) -> None:
    log: list[dict[str, Any]] = []
    work = shop(
        data, tmp_path, Ticking, {"train": TICK}, log, selection="validation", patience=patience
    )
    picks = selection.pick(work)
    assert lines(log, "validation", "H") == [0.0, 100.0, 0.0, 0.0, 0.0][:looked_at]
    assert lines(log, "validation", "S") == [100.0] * looked_at
    assert picks.changes == {"train.epochs": 2}
    assert picks.config == TickingConfig.model_validate({"train": TICK | {"epochs": 2}})
    assert picks.figures["H"] == 100.0, "the figures are those of the epoch that was picked"


def test_a_schedule_over_all_epochs_is_cut_where_the_fold_was_best(
    data: Dataset, tmp_path: Path
) -> None:
    # speed 0.8 k in epoch k + 1: the weight is 0, 0.8, 2.4, ... and nearest to 2 after the third
    train = TICK | {"schedules": {"speed": {"from": 0, "to": 4}}}
    work = shop(data, tmp_path, Rising, {"train": train}, [], selection="validation")
    picks = selection.pick(work)
    assert picks.changes == {"train.epochs": 3, "train.schedule_epochs": 5}
    assert picks.config == TickingConfig.model_validate(
        {"train": train | {"epochs": 3, "schedule_epochs": 5}}
    )


def test_the_mean_of_the_weights_is_what_a_fold_judges(data: Dataset, tmp_path: Path) -> None:
    # the weight is 1, ..., 5, and its mean from the first epoch on 1, 1.5, 2, 2.5, 3
    train = TICK | {"average_last": 1.0}
    log: list[dict[str, Any]] = []
    work = shop(data, tmp_path, Ticking, {"train": train}, log, selection="validation")
    picks = selection.pick(work)
    assert lines(log, "validation", "H") == [0.0, 0.0, 100.0, 0.0, 0.0]
    assert picks.changes == {"train.epochs": 3, "train.schedule_epochs": 5}
    last = selection._train(work, work.folds[0], picks.config, "again", until=3)
    assert float(last.model.w) == 2.0  # type: ignore[arg-type]


def test_without_selection_the_last_epoch_counts(data: Dataset, tmp_path: Path) -> None:
    picks = selection.pick(shop(data, tmp_path, Ticking, {"train": TICK}, []))
    assert (picks.changes, picks.config.model_dump()["train"]["epochs"]) == ({}, 5)
    assert picks.figures["H"] == 0.0


def test_an_interrupted_pick_goes_on_and_picks_the_same(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    log: list[dict[str, Any]] = []
    work = shop(data, tmp_path, Ticking, {"train": TICK}, log, selection="validation")

    def interrupted(**line: Any) -> None:
        if line["phase"] == "validation" and line.get("epoch") == 4 and "H" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        selection.pick(replace(work, log=interrupted))
    picks = selection.pick(work)
    assert lines(log, "validation", "H") == [0.0, 0.0], (
        "of epochs 4 and 5, for the first three were done"
    )
    assert (picks.changes, picks.figures["H"]) == ({"train.epochs": 2}, 100.0)


def test_each_point_of_a_search_is_trained_from_the_start(data: Dataset, tmp_path: Path) -> None:
    config = {"train": TICK | {"epochs": 2}}
    picks = selection.pick(
        shop(data, tmp_path, SpeedSearch, config, [], tune=True, selection="validation")
    )
    assert (picks.changes, picks.figures["H"]) == ({"speed": 2.0, "train.epochs": 1}, 100.0)


def test_a_setting_of_the_training_can_be_searched(data: Dataset, tmp_path: Path) -> None:
    picks = selection.pick(
        shop(data, tmp_path, StepSearch, {"train": TICK | {"epochs": 1}}, [], tune=True)
    )
    assert (picks.changes, picks.figures["H"]) == ({"train.lr": 2.0}, 100.0)


def test_what_is_needed_is_what_would_be_picked(data: Dataset, tmp_path: Path) -> None:
    def needs(kind: type[Model], **protocol: Any) -> bool:
        return selection.needed(shop(data, tmp_path, kind, {}, [], **protocol).plan)

    assert (
        needs(ByHand, calibration="validation")
        and needs(Searched, tune=True)
        and needs(Mixed, tune=True)
    )
    assert needs(Ticking, selection="validation")
    assert (
        not needs(ByHand, tune=True)
        and not needs(ByHand, selection="validation")
        and not needs(Both)
    )


def test_folds_of_one_seed_hold_out_different_classes(data: Dataset) -> None:
    held_out = [
        set(data.fold(0, part).labels[data.fold(0, part).split.test_unseen].tolist())
        for part in range(3)
    ]
    assert all(len(classes) == 2 for classes in held_out) and len(set.union(*held_out)) == 6
    with pytest.raises(DataError, match=r"set protocol\.folds to 3 or less"):
        data.fold(0, 3)


def test_folds_are_averaged_and_the_epoch_is_the_best_of_the_means(
    data: Dataset, tmp_path: Path
) -> None:
    def history(*h: float) -> list[dict[str, float]]:
        return [{"epoch": float(i + 1), "gamma": 0.0, "H": value} for i, value in enumerate(h)]

    # apart, epochs 1 and 3 win; together, epoch 2 does; epoch 4 was reached by one fold alone
    assert selection._best_epoch([history(60, 50, 0, 90), history(0, 50, 60)])[0] == 2
    log: list[dict[str, Any]] = []
    picks = selection.pick(
        shop(data, tmp_path, Ticking, {"train": TICK}, log, selection="validation", folds=3)
    )
    assert lines(log, "validation", "fold") == [0] * 5 + [1] * 5 + [2] * 5
    assert (picks.changes, picks.figures["H"]) == ({"train.epochs": 2}, 100.0)
    calibrated = selection.pick(
        shop(data, tmp_path / "b", ByHand, {"bias": 10}, [], calibration="validation", folds=2)
    )
    assert (calibrated.gamma, calibrated.figures["H"]) == (10.0, 100.0)


def test_a_search_that_was_interrupted_tries_no_point_twice(data: Dataset, tmp_path: Path) -> None:
    work = shop(data, tmp_path, Searched, {}, [], tune=True)

    def interrupted(**line: Any) -> None:
        if line.get("quality") == 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        selection.pick(replace(work, log=interrupted))
    log: list[dict[str, Any]] = []
    picks = selection.pick(replace(work, log=lambda **line: log.append(line)))
    assert lines(log, "search", "quality") == [0.5, 1.0], "-1.0 was tried before"
    assert picks.changes == {"quality": 0.5}


class Fragile(Searched):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        if self.config.quality < 1:
            raise TrainingError("its system is singular")
        super().fit(view, trainer)


def test_a_point_that_cannot_be_trained_does_not_end_the_search(
    data: Dataset, tmp_path: Path
) -> None:
    log: list[dict[str, Any]] = []
    picks = selection.pick(shop(data, tmp_path, Fragile, {}, log, tune=True))
    assert (picks.changes, picks.figures["H"]) == ({"quality": 1.0}, 100.0)
    assert [line["quality"] for line in log if "failed" in line] == [-1.0, 0.5]


def test_a_search_without_any_point_that_trains_says_why(data: Dataset, tmp_path: Path) -> None:
    class Broken(Fragile):
        search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"quality": (-1.0, 0.5)}

    with pytest.raises(
        TrainingError,
        match=r"No point of the search of mine could be trained \(its system is singular\)",
    ):
        selection.pick(shop(data, tmp_path, Broken, {}, [], tune=True))


class Deep(ModelConfig):
    mix: float = 0.5


class DeepConfig(ModelConfig):
    inner: Deep = Deep()


class DeepMixed(ByHand):
    Config = DeepConfig
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {"inner.mix": (0.0, 0.5, 0.75)}

    def scores(self, x: Tensor) -> Tensor:
        answer: Tensor = (1 if self.config.inner.mix == 0.5 else -1) * x @ self.attributes.T
        return answer


def test_a_mix_may_be_a_setting_of_a_section(data: Dataset, tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    picks = selection.pick(shop(data, tmp_path, DeepMixed, {"inner": {"mix": 0.0}}, log, tune=True))
    assert lines(log, "mix", "H") == [0.0, 100.0, 0.0]
    assert (picks.changes, picks.config) == ({"inner.mix": 0.5}, DeepConfig(inner=Deep(mix=0.5)))


class TooLarge(Searched):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        if self.config.quality == 0.5:
            raise OutOfMemory("no room")


def test_no_room_for_a_point_ends_the_search_and_is_kept_as_no_outcome(
    data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(
        OutOfMemory, match=r"quality=0\.5 of the search could not be tried.*no room"
    ):
        selection.pick(shop(data, tmp_path, TooLarge, {}, [], tune=True))
    picks = selection.pick(
        shop(data, tmp_path, Searched, {}, [], tune=True)
    )  # on a machine that has more
    assert picks.changes == {"quality": 0.5}


class Twice(Ticking):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.train(self, view)
        trainer.train(self, view)


def test_no_epoch_is_picked_of_two_trainings(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Twice\.fit calls trainer\.train more than once"):
        selection.pick(shop(data, tmp_path, Twice, {"train": TICK}, [], selection="validation"))
    (tmp_path / "last").mkdir()
    picks = selection.pick(
        shop(data, tmp_path / "last", Twice, {"train": TICK | {"epochs": 1}}, [])
    )
    assert picks.figures["H"] == 100.0, "two trainings of one epoch end at 2"


FOLD_OF = {2: 0, 4: 1, 0: 2}
"""Which of three folds it is, by the first class that it holds out."""


class ApartConfig(GradientConfig):
    apart: float = 1.0
    mix: float = 0.5


class Apart(ByHand):
    """Right on fold 0, 1 and 2 for gamma in (0, 2), (1.5, 3.5) and (5, 7) where apart = 1, and in
    (0, 2) on all where it is 0."""

    Config = ApartConfig

    def scores(self, x: Tensor) -> Tensor:
        bias = 1 + self.config.apart * (0, 1.5, 5)[FOLD_OF[int(np.argmin(self.seen.numpy()))]]
        answer: Tensor = x @ self.attributes.T + bias * self.seen
        return answer


class ApartSearched(Apart):
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"apart": (1.0, 0.0)}


class ApartMixed(Apart):
    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {"apart": (1.0, 0.0)}


class Nearing(Ticking):
    """`Apart` in its first epoch, and no longer in its second."""

    Config = ApartConfig

    def scores(self, x: Tensor) -> Tensor:
        bias = 1 + (0, 1.5, 5)[FOLD_OF[int(np.argmin(self.seen.numpy()))]] * (self.w < 2)
        return x @ self.attributes.T + bias * self.seen

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"down": -self.w}


class Uneven(Nearing):
    """Without calibration. Fold 0 is right in epochs 1 and 2, fold 1 in 2 and 3; mixed by 0 each at
    its first, by 1 at epoch 2."""

    mixes: ClassVar[Mapping[str, tuple[float, ...]]] = {"mix": (0.0, 1.0)}

    def scores(self, x: Tensor) -> Tensor:
        fold, epoch = FOLD_OF[int(np.argmin(self.seen.numpy()))], int(self.w)
        right = {0.5: (fold + 1, fold + 2), 0.0: (fold + 1,), 1.0: (2,)}[self.config.mix]
        return x @ self.attributes.T + 10 * (epoch not in right) * self.seen


def test_one_gamma_is_picked_for_all_folds_and_the_figures_are_those_under_it(
    data: Dataset, tmp_path: Path
) -> None:
    log: list[dict[str, Any]] = []
    picks = selection.pick(shop(data, tmp_path, Apart, {}, log, calibration="validation", folds=3))
    # The folds alone would take 1, 2.5 and 6, with H 100 each; under their mean, 3.17, fold 1 alone
    # is right.
    assert (picks.gamma, picks.figures) == (
        1.75,
        pytest.approx(picks.figures | {"S": 100.0, "U": 200 / 3, "H": 200 / 3}),
    )


@pytest.mark.parametrize("kind", [ApartSearched, ApartMixed])
def test_settings_and_mixes_are_judged_under_one_gamma_for_all_folds(
    data: Dataset, tmp_path: Path, kind: type[Model]
) -> None:
    log: list[dict[str, Any]] = []
    picks = selection.pick(
        shop(data, tmp_path, kind, {}, log, calibration="validation", tune=True, folds=3)
    )
    assert lines(log, "search" if kind.search else "mix", "H") == pytest.approx([200 / 3, 100.0])
    assert (picks.changes, picks.gamma, picks.figures["H"]) == ({"apart": 0.0}, 1.0, 100.0)


def test_the_epoch_is_judged_under_one_gamma_for_all_folds_resumed_or_not(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    config, log = {"train": TICK | {"epochs": 2}}, list[dict[str, Any]]()
    work = shop(
        data,
        tmp_path,
        Nearing,
        config,
        log,
        calibration="validation",
        selection="validation",
        folds=3,
    )

    def interrupted(**line: Any) -> None:
        if line["phase"] == "validation, fold 3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        selection.pick(replace(work, log=interrupted))
    picks = selection.pick(work)
    assert lines(log, "validation", "fold") == [2, 2], (
        "the first two folds come from their checkpoints, curves included"
    )
    # Alone each fold has H 100 in both epochs; under one gamma 66.7 in the first.
    assert (picks.changes, picks.gamma, picks.figures["H"]) == ({"train.epochs": 2}, 1.0, 100.0)


def test_mixes_are_judged_at_the_epoch_that_was_picked(data: Dataset, tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    work = shop(
        data,
        tmp_path,
        Uneven,
        {"train": TICK | {"epochs": 3}},
        log,
        selection="validation",
        tune=True,
        folds=2,
    )
    picks = selection.pick(work)
    # At each fold's own first best epoch a mix of 0 looks perfect; at epoch 2, which counts, fold 0
    # has lost it.
    assert lines(log, "mix", "H") == [50.0, 100.0]
    assert (picks.changes, picks.figures["H"]) == ({"mix": 1.0, "train.epochs": 2}, 100.0)
    assert lines(log, "validation again", "epoch") == [1, 2], (
        "fold 0 alone had taken epoch 1, and is trained once more up to 2"
    )
