"""What is picked is picked on a fold inside trainval: no image of a test set is ever read for
it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from picking import (
    TICK,
    Both,
    ByHand,
    Guarded,
    HandConfig,
    Mixed,
    Rising,
    Searched,
    SpeedSearch,
    StepSearch,
    Ticking,
    TickingConfig,
    lines,
    shop,
)
from torch import Tensor

from zslkit.dataset import Dataset
from zslkit.errors import DataError, OutOfMemory, TrainingError
from zslkit.model import (
    Model,
    ModelConfig,
    Trainer,
    TrainingView,
)
from zslkit.runs.plan import make_plan
from zslkit.training import loop, selection
from zslkit.training.inputs import Inputs
from zslkit.utils.progress import Silent


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
    inputs = Inputs("pooled", (12,), None, None, source, "", "", "", "", None)
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
    assert not make_plan("eszsl", "digits", settings=settings).picks
    assert make_plan("dedn", "digits", settings=[*settings, "protocol.selection=validation"]).picks


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
        return shop(data, tmp_path, kind, {}, [], **protocol).plan.picks

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
