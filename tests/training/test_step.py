"""A training step on a device without room for its batch: the same step all the same. A stand-in of a model runs out of memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from no_room import (
    ALWAYS,
    CPU,
    SHORT,
    Drops,
    ExternalWeights,
    Logarithm,
    LogarithmBackward,
    Moving,
    MovingAnew,
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
from zslkit.errors import TrainingError
from zslkit.functional import whole_sum
from zslkit.model import GradientModel, Task
from zslkit.training import checkpoint
from zslkit.training import resident as resident_module
from zslkit.training.loop import Loop
from zslkit.training.resident import Resident
from zslkit.training.step import Step
from zslkit.utils import distributed
from zslkit.utils.progress import Silent


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ExternalWeights]]:
    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", ExternalWeights)
    ExternalWeights.now, ExternalWeights.kept = False, 0
    yield ExternalWeights
    assert not ExternalWeights.now


@pytest.mark.parametrize("kind", [Small, SmallBackward])
@pytest.mark.parametrize("room", [1, 2, 5])
def test_a_mean_over_images_is_taken_in_parts_and_trains_as_the_whole_batch_does(
    kind: type[Small], room: int
) -> None:
    whole, expected = train(kind, clip_norm=0.5)
    parts, lines = train(kind, room, clip_norm=0.5)
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=1e-5, atol=1e-6)
    for line, other in zip(epochs(lines), epochs(expected), strict=True):
        assert line.pop("phase") == other.pop("phase") and line == pytest.approx(other, rel=1e-5)
    assert ExternalWeights.kept == 0


def test_a_processor_that_has_no_room_is_met_alike() -> None:
    class Real(Small):
        """It asks the system for more than there is."""

        def hidden(self, x: Tensor) -> Tensor:
            if self.training and len(x) > 3:
                torch.empty(2**52)
            return super().hidden(x)

    model, lines = train(Real)
    assert set(model.asked) == {3} and "in 2 parts" in next(
        line["note"] for line in lines if "note" in line
    )


def test_another_error_in_a_step_is_left_as_it_is() -> None:
    class Wrong(Small):
        def hidden(self, x: Tensor) -> Tensor:
            return x @ x

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(Wrong)


def test_the_parts_that_fit_are_kept_for_the_steps_that_follow() -> None:
    model, _ = train(Small, room=2)
    assert model.fell == [6, 3]
    assert model.asked[:6] == [6, 3, 1, 2, 1, 2] and model.asked[6:] == [1, 2, 1, 2] * 7


def test_it_is_said_once_with_its_numbers() -> None:
    _, lines = train(Small, room=2)
    (note,) = [line for line in lines if "epoch" not in line]
    assert note == {
        "phase": "train",
        "note": "cpu has no room for a step over 6 images at once; from here on they go through in 4 parts whose gradients are added up, "
        "so that each step stays that of the whole batch",
    }
    assert [line for line in train(Small)[1] if "epoch" not in line] == []


@pytest.mark.parametrize(
    "kind",
    [
        Undeclared,
        Logarithm,
        LogarithmBackward,
        Sum,
        Normalised,
        NormalisedWithoutStatistics,
        Moving,
        MovingAnew,
    ],
)
def test_images_that_know_of_each_other_stay_together_and_give_the_same_bits(
    kind: type[Small],
) -> None:
    whole, expected = train(kind, clip_norm=0.5)
    assert ExternalWeights.kept == 0
    other, lines = train(kind, room=4, clip_norm=0.5)
    assert same(whole, other) and epochs(lines) == epochs(expected)
    assert ExternalWeights.kept > 0
    (note,) = [line["note"] for line in lines if "epoch" not in line]
    assert "keeps for its backward pass waits in the host's memory" in note and "parts" not in note
    assert len(other.fell) <= 2 and set(other.asked[-6:]) == {6}


def test_batch_normalisation_by_kept_statistics_is_no_tie_between_images() -> None:
    class Frozen(Small):
        def __init__(self, config: Any, task: Task) -> None:
            super().__init__(config, task)
            self.norm = nn.BatchNorm1d(4)

        def hidden(self, x: Tensor) -> Tensor:
            return super().hidden(self.norm.eval()(x))

    whole, parts = train(Frozen)[0], train(Frozen, room=3)[0]
    assert parts.asked[1:] == [3, 3] * 8
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=1e-5, atol=1e-6)


def test_a_term_that_joins_later_and_looks_at_the_whole_batch_puts_the_parts_together_again() -> (
    None
):
    class Later(Small):
        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, label)
            late = self.learning_rate(1, "all") < self.config.train.lr and len(self.asked) > 4
            return {**terms, "late": whole_sum(self.scores(x).square().sum())} if late else terms

    model, lines = train(Later, room=3, lr_factor=0.5, lr_every=1, epochs=1)
    assert model.asked[:3] == [6, 3, 3] and model.asked[-1] == 6
    assert [
        ("parts" in line["note"], "host" in line["note"]) for line in lines if "note" in line
    ] == [(True, False), (False, True)]


def test_dropout_draws_other_masks_for_parts_and_the_same_ones_every_time() -> None:
    whole, parts, again = train(Drops)[0], train(Drops, room=3)[0], train(Drops, room=3)[0]
    assert same(parts, again) and not same(whole, parts)


def test_an_attempt_that_failed_leaves_no_trace_in_the_random_numbers() -> None:
    told, bits = [], []
    for first in (6, 3):  # one falls at the whole batch first, the other knows the parts before
        model = tiny(Drops)
        assert isinstance(model, Drops)
        model.room = 3
        step = Step(model, CPU, "float32", told.append)
        step.load({"parts": 6 // first, "offloads": 0})
        torch.manual_seed(5)
        step(Rows().x[:6], torch.tensor([0, 1, 2, 0, 1, 2]), 6)
        bits.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.equal(*bits) and len(told) == 1


def test_terms_and_total_are_those_of_the_whole_batch() -> None:
    class Weighs(Small):
        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, label)
            return {**terms, "total": terms["cross_entropy"] + 3 * terms["parameters"]}

    told = []
    for kind in (Small, Weighs):
        for parts in (1, 4):
            step = Step(tiny(kind), CPU, "float32", lambda note: None)
            step.load({"parts": parts, "offloads": 0})
            told.append(step(Rows().x[:6], torch.tensor([0, 1, 2, 0, 1, 2]), 6))
    for (values, total), (others, other) in (told[:2], told[2:]):
        assert values == pytest.approx(others) and total == pytest.approx(other)
    assert told[0][1] == pytest.approx(sum(told[0][0].values())) and told[2][1] == pytest.approx(
        told[2][0]["total"]
    )


class Stop:
    """Ends the training in the third epoch: the second one is the last that is kept."""

    history: list[dict[str, float]] = []  # noqa: RUF012

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        if epoch == 3:
            raise KeyboardInterrupt
        return False


@pytest.mark.parametrize("kind", [Drops, Logarithm])
def test_a_resumed_run_goes_on_in_the_same_parts_bit_for_bit(
    kind: type[Small], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["zslkit.training.loop"], "CHECKPOINT_SHARE", float("inf"))
    whole, path = train(kind, room=2, epochs=4)[0], tmp_path / "checkpoint.pt"
    stopped = tiny(kind, **{**SHORT, "epochs": 4})
    assert isinstance(stopped, Small)
    stopped.room = 2
    with pytest.raises(KeyboardInterrupt):
        Loop(
            seed=3,
            device=CPU,
            reporter=Silent(),
            log=lambda **values: None,
            checkpoint_path=path,
            observer=Stop(),
        ).train(stopped, Rows())
    resumed, lines = train(kind, path=path, epochs=4)  # where there is room for everything by now
    assert lines[0]["epoch"] == 3 and same(whole, resumed)


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    train(Small, path=path, epochs=1)
    state = checkpoint.load(path)
    del state["step"]
    checkpoint.save(path, state)
    assert same(train(Small, path=path, epochs=2)[0], train(Small, epochs=2)[0])


def test_one_image_at_a_time_and_the_host_is_the_last_way_of_a_mean() -> None:
    model, lines = train(Small, room=0, room_elsewhere=1)
    assert model.fell == [6, 3, 1, 1] and set(model.asked[4:]) == {1}
    (note,) = [line["note"] for line in lines if "note" in line]
    assert "in 6 parts" in note and "host's memory" in note
    torch.testing.assert_close(
        model.state_dict(), train(Small)[0].state_dict(), rtol=1e-5, atol=1e-6
    )


def test_a_batch_for_which_nothing_helps_is_named_with_the_key_that_lowers_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(TrainingError) as error:
        train(Logarithm, room=4, room_elsewhere=5)
    assert exit_code_of(error.value, State()) == 1
    (told,) = capsys.readouterr().err.splitlines()
    for words in (
        "cpu has no room for a training step over 6 images",
        "lower train.batch_size, which is another recipe",
        "last checkpoint",
    ):
        assert words in told


def test_a_single_image_without_room_is_told_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (Small, Undeclared):
        with pytest.raises(TrainingError) as error:
            train(kind, room=0, room_elsewhere=0, batch_size=1 if kind is Undeclared else 6)
        assert exit_code_of(error.value, State()) == 1
        (told,) = capsys.readouterr().err.splitlines()
        assert (
            "over one image" in told
            and "no train.batch_size is small enough" in told
            and "features.size" in told
        )


def test_features_that_lie_on_the_device_for_speed_make_room_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stored(Rows):
        stored = Rows.batch

    asked: list[bool] = []

    class Beside(Small):
        """It has room for a batch once the features are gone."""

        def scores(self, x: Tensor) -> Tensor:
            (kept,) = made
            self.room = 6 if kept._inputs is None else 0
            asked.append(kept._inputs is None)
            return super().scores(x)

    made: list[Resident] = []
    init = Resident.__init__
    monkeypatch.setattr(
        Resident, "__init__", lambda self, *given: made.append(self) or init(self, *given)
    )
    monkeypatch.setattr(resident_module, "free_memory", lambda device: 10**9)
    model, lines = tiny(Beside, **SHORT), []
    Loop(seed=3, device=CPU, reporter=Silent(), log=lambda **values: lines.append(values)).train(
        model, Stored()
    )
    assert asked[:2] == [False, True] and all(asked[1:])
    assert [line["note"] for line in lines if "note" in line] == [
        "features are no longer kept on cpu, which has no room for a step beside them"
    ]
    assert same(model, train(Small)[0])


def test_all_processes_take_the_way_of_the_one_with_the_least_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    step = Step(tiny(Small), CPU, "float32", told.append)
    step.agree()
    assert step.state() == {"parts": 1, "offloads": 0} and told == []
    monkeypatch.setattr(
        distributed,
        "gathered",
        lambda work: [work(), {"parts": 4, "offloads": 0}, {"parts": 2, "offloads": 1}],
    )
    step.agree()
    assert step.state() == {"parts": 4, "offloads": 1}
    (note,) = told
    assert note.startswith("another process has no room") and "4 parts" in note


def test_sums_are_remembered_so_that_a_process_can_repeat_what_the_others_have_done() -> None:
    exchanged: list[float] = []

    def others(tensor: Tensor) -> Tensor:
        exchanged.append(float(tensor))
        return tensor + 100

    sums: list[Tensor] = []
    with distributed.rehearsing(0, 2, 4, others):
        for count in (2, 3):
            with distributed.remembering(sums):
                given = [float(distributed.summed(torch.tensor(float(i)))) for i in range(count)]
            assert given == [100.0, 101.0, 102.0][:count]
        assert float(distributed.summed(torch.tensor(7.0))) == 107.0
    assert exchanged == [0.0, 1.0, 2.0, 7.0]


def test_a_process_that_runs_out_of_memory_gives_the_others_each_sum_once() -> None:
    """The second of two processes; the first one's part of every sum is 0."""
    x, label = Rows().x[:6], torch.tensor([0, 1, 2, 0, 1, 2])
    counts, gradients = [], []
    for room in (ALWAYS, 2):
        given: list[Tensor] = []
        model = tiny(LogarithmBackward)
        assert isinstance(model, Small)
        model.room = room
        step = Step(model, CPU, "float32", lambda told: None)
        torch.manual_seed(5)
        with distributed.rehearsing(
            1, 2, 6, lambda tensor, given=given: given.append(tensor) or tensor
        ):  # type: ignore[misc]
            step(x[3:], label[3:], 6)
        counts.append(len(given))
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert counts[0] == counts[1] > 1 and torch.equal(*gradients)
