"""Several folds are judged together: one gamma, one epoch and one setting for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from picking import (
    TICK,
    ByHand,
    Ticking,
    lines,
    shop,
)
from torch import Tensor

from zslkit.dataset import Dataset
from zslkit.model import (
    GradientConfig,
    Model,
)
from zslkit.training import loop, selection

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
