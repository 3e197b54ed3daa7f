"""A training step in parts, or with the host's memory: the same step all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from no_room import (
    CPU,
    Drops,
    ExternalWeights,
    Logarithm,
    Moving,
    MovingAnew,
    MovingData,
    Normalised,
    NormalisedWithoutStatistics,
    Small,
    SmallBackward,
    Sum,
    Undeclared,
    epochs,
    same,
    train,
)
from test_loop import Rows, tiny
from torch import Tensor, nn

from zslkit.cli.failure import State, exit_code_of
from zslkit.config import TrainConfig
from zslkit.errors import OutOfMemory, UserError
from zslkit.model import Task
from zslkit.training import checkpoint
from zslkit.training.step import take_step


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", ExternalWeights)
    ExternalWeights.now, ExternalWeights.kept = False, 0
    yield
    assert not ExternalWeights.now


@pytest.mark.parametrize(("parts", "asked"), [(2, [3, 3]), (4, [1, 2, 1, 2]), (50, [1] * 6)])
def test_a_mean_over_images_is_taken_in_parts_and_trains_as_the_whole_batch_does(
    parts: int, asked: list[int]
) -> None:
    whole, expected = train(Small, clip_norm=0.5)
    model, lines = train(Small, room=max(asked), clip_norm=0.5, accumulate=parts)
    torch.testing.assert_close(model.state_dict(), whole.state_dict(), rtol=1e-5, atol=1e-6)
    for line, other in zip(epochs(lines), epochs(expected), strict=True):
        assert line.pop("phase") == other.pop("phase") and line == pytest.approx(other, rel=1e-5)
    assert model.asked == asked * 8 and ExternalWeights.kept == 0


def test_another_error_in_a_step_is_left_as_it_is() -> None:
    class Wrong(Small):
        def hidden(self, x: Tensor) -> Tensor:
            return x @ x

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(Wrong)


@pytest.mark.parametrize(
    "kind",
    [
        Undeclared,
        Logarithm,
        Sum,
        Normalised,
        NormalisedWithoutStatistics,
        Moving,
        MovingAnew,
        MovingData,
    ],
)
def test_images_that_know_of_each_other_stay_together_and_give_the_same_bits(
    kind: type[Small],
) -> None:
    with pytest.raises(UserError, match=r"train.accumulate .* looks at the whole batch"):
        train(kind, accumulate=2)
    whole, expected = train(kind, clip_norm=0.5)
    assert ExternalWeights.kept == 0
    other, lines = train(kind, room=4, room_elsewhere=6, clip_norm=0.5, offload=True)
    assert same(whole, other) and epochs(lines) == epochs(expected)
    assert ExternalWeights.kept > 0


def test_batch_normalisation_by_kept_statistics_is_no_tie_between_images() -> None:
    class Frozen(Small):
        def __init__(self, config: Any, task: Task) -> None:
            super().__init__(config, task)
            self.norm = nn.BatchNorm1d(4)

        def hidden(self, x: Tensor) -> Tensor:
            return super().hidden(self.norm.eval()(x))

    whole, parts = train(Frozen)[0], train(Frozen, accumulate=2)[0]
    assert parts.asked == [3, 3] * 8
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=1e-5, atol=1e-6)


def test_dropout_draws_other_masks_for_parts_and_the_same_ones_every_time() -> None:
    whole, parts, again = (train(Drops, accumulate=n)[0] for n in (1, 2, 2))
    assert same(parts, again) and not same(whole, parts)


def test_terms_and_total_are_those_of_the_whole_batch() -> None:
    class Weighs(Small):
        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, label)
            return {**terms, "total": terms["cross_entropy"] + 3 * terms["parameters"]}

    told = []
    for kind in (Small, Weighs):
        for parts in (1, 4):
            model = tiny(kind, accumulate=parts)
            batch = Rows().x[:6], torch.tensor([0, 1, 2] * 2)
            taken = take_step(model, model.loss, *batch, 6, CPU)
            told.append(({k: v.item() for k, v in taken.terms.items()}, taken.total.item()))
    for (values, total), (others, other) in (told[:2], told[2:]):
        assert values == pytest.approx(others) and total == pytest.approx(other)
    assert told[0][1] == pytest.approx(sum(told[0][0].values())) and told[2][1] == pytest.approx(
        told[2][0]["total"]
    )


def test_a_checkpoint_of_a_version_that_found_the_parts_itself_is_gone_on_from(
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoint.pt"
    train(Small, path=path, epochs=1)
    state = checkpoint.load(path)
    checkpoint.save(path, {**state, "step": {"parts": 1, "offloads": 0}})
    assert same(train(Small, path=path, epochs=2)[0], train(Small, epochs=2)[0])


def test_settings_at_their_usual_values_are_not_written_so_older_runs_keep_identity() -> None:
    assert not {"accumulate", "offload"} & TrainConfig().model_dump().keys()
    assert TrainConfig(accumulate=2).model_dump()["accumulate"] == 2


@pytest.mark.parametrize(
    ("kind", "settings", "words", "absent"),
    [
        (Small, {}, ("6 images; set train.accumulate=2", "train.offload", "batch_size"), ()),
        (SmallBackward, {"accumulate": 2}, ("train.accumulate=4",), ()),
        (Undeclared, {}, ("set train.offload=true", "batch_size"), ("accumulate",)),
        (Small, {"accumulate": 6, "offload": True}, ("smaller backbone",), ("set", "batch_size")),
    ],
)
def test_a_batch_without_room_is_told_with_the_settings_that_help(
    kind: type[Small],
    settings: dict[str, Any],
    words: tuple[str, ...],
    absent: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(OutOfMemory) as error:
        train(kind, room=0, room_elsewhere=0, **settings)
    assert exit_code_of(error.value, State()) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "cpu has no room for a training step over 6 images" in told
    assert all(word in told for word in words) and not any(word in told for word in absent)


def test_a_processor_that_has_no_room_is_met_alike() -> None:
    class Real(Small):
        """It asks the system for more than there is."""

        def hidden(self, x: Tensor) -> Tensor:
            if self.training:
                torch.empty(2**52)
            return super().hidden(x)

    with pytest.raises(OutOfMemory, match=r"train\.accumulate=2"):
        train(Real)
