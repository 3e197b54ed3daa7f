"""Loss terms that are read later: the same numbers and the right step, on a device that must not be
waited for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from test_loop import Broken, Rows, Tiny, loop, tiny
from torch import Tensor

from zslkit.config import TrainConfig, build
from zslkit.config.merge import Layer, merge
from zslkit.errors import TrainingError, UserError
from zslkit.training import ahead as ahead_module
from zslkit.training import compiled, unread
from zslkit.training.ahead import Copies, ahead
from zslkit.training.step import take_step
from zslkit.training.unread import TOTAL, Unread
from zslkit.utils import distributed
from zslkit.utils.progress import Silent


@pytest.fixture
def lagging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU counts as a device that is read every 4 steps."""
    monkeypatch.setattr(unread, "_asynchronous", lambda device: True)
    monkeypatch.setattr(unread, "READ_EVERY", 4)


def test_on_the_cpu_every_step_is_read_and_numbers_need_no_device() -> None:
    kept = Unread()
    assert kept.add({"a": torch.tensor(1.5)}, torch.tensor(2.0)) and kept.add({"a": 3.0})
    assert kept.read("", "") == [{"a": 1.5, TOTAL: 2.0}, {"a": 3.0}]
    assert kept.read("", "") == [] and kept.steps == 2


def test_terms_of_other_names_and_types_stand_in_their_steps(lagging: None) -> None:
    kept = Unread()
    half, wide = torch.tensor(0.1, dtype=torch.bfloat16), torch.tensor(0.1, dtype=torch.float64)
    steps: list[dict[str, Any]] = [{"a": torch.tensor(0.1), "b": half}, {}, {"a": wide}, {"c": 7}]
    assert [kept.add(step) for step in steps] == [False] * 4  # the empty one keeps nothing
    assert kept.add({"a": torch.tensor([2.0])})
    assert kept.read("", "") == [
        {"a": float(torch.tensor(0.1)), "b": float(half)},
        {"a": 0.1},
        {"c": 7.0},
        {"a": 2.0},
    ]


def test_a_tensor_that_the_model_writes_into_later_counts_as_it_was(lagging: None) -> None:
    kept, moving = Unread(), torch.zeros(())
    for _ in range(3):
        kept.add({"moving": moving.add_(1)})
    assert [row["moving"] for row in kept.read("", "")] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_term_that_is_not_finite_is_named_with_its_own_step(lagging: None, bad: float) -> None:
    kept = Unread()
    for value in (1.0, 1.0, 1.0, 1.0):
        kept.add({"a": torch.tensor(value)})
    kept.read("", "")
    for value in (1.0, bad, bad):
        kept.add({"fine": torch.tensor(1.0), "a": torch.tensor(value)})
    with pytest.raises(TrainingError, match=rf"term a is {bad} at step 6; lower it"):
        kept.read("at step {step}", "lower it")


def test_a_total_that_is_not_finite_alone_is_no_term() -> None:
    kept = Unread()
    kept.add({"a": torch.tensor(1.0)}, torch.tensor(math.inf))
    assert kept.read("", "")[0][TOTAL] == math.inf


class Late(Tiny):
    """Its loss is not finite in the sixth step."""

    calls = 0

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {**super().loss(x, label), "odd": torch.tensor(math.nan if self.calls == 6 else 0.0)}


@pytest.mark.parametrize("lags", [False, True])
def test_the_loop_names_the_step_however_late_it_reads(
    lags: bool, request: pytest.FixtureRequest
) -> None:
    if lags:
        request.getfixturevalue("lagging")
    with pytest.raises(TrainingError, match=r"odd is nan in epoch 1, step 6; lower train\.lr"):
        loop([]).train(tiny(Late), Rows())
    with pytest.raises(TrainingError, match=r"explosion is .* in epoch 1, step 1"):
        loop([]).train(tiny(Broken), Rows())


class Counted(Silent):
    """Counts the steps that progress shows."""

    steps = 0

    def advance(self, n: int = 1, **figures: float) -> None:
        self.steps += n


def test_a_device_that_is_read_late_gives_the_same_bits_and_counts_every_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained() -> tuple[list[dict[str, Any]], dict[str, Tensor], int]:
        log: list[dict[str, Any]] = []
        counted, model = Counted(), tiny(epochs=2)
        trainer = loop(log)
        trainer._reporter = counted
        trainer.train(model, Rows())
        return (
            [{k: v for k, v in line.items() if k != "seconds"} for line in log],
            model.state_dict(),
            counted.steps,
        )

    now = trained()
    monkeypatch.setattr(unread, "_asynchronous", lambda device: True)
    for every in (4, 100):
        monkeypatch.setattr(unread, "READ_EVERY", every)
        later = trained()
        assert later[0] == now[0] and later[2] == now[2] == 20
        assert all(torch.equal(now[1][k], later[1][k]) for k in now[1])


def test_a_stage_names_the_step_and_logs_means_however_late_it_reads(lagging: None) -> None:
    log: list[dict[str, Any]] = []
    trainer = loop(log)
    for epoch in (stage := trainer.stage("net", 2, {}, steps=6, mend="lower lr")):
        for step in range(6):
            stage.step(a=torch.tensor(float(step)), **({"b": 2.0} if step == 5 else {}))
        assert epoch >= 0
    assert [(line["a"], line["b"]) for line in log] == [(2.5, 2.0)] * 2
    with pytest.raises(TrainingError, match=r"a is nan in epoch 1, step 2 of the stage other"):
        for _ in (stage := trainer.stage("other", 1, {}, steps=3)):
            for value in (1.0, math.nan, 1.0):
                stage.step(a=torch.tensor(value))


def test_coupled_images_are_found_when_the_device_is_read(lagging: None) -> None:
    kept = Unread()
    kept.add({"a": torch.tensor(1.0)}, coupled=torch.tensor(False))
    assert kept.read("", "") == [{"a": 1.0}]
    kept.add({"a": torch.tensor(1.0)}, coupled=torch.tensor(True))
    kept.add({"a": torch.tensor(1.0)}, coupled=torch.tensor(False))
    with pytest.raises(UserError, match=r"train\.accumulate .* looks at the whole batch"):
        kept.read("", "")


def test_a_step_reads_no_number() -> None:
    """Fake tensors have none, so reading one would raise."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model = tiny()
        taken = take_step(
            model, model.loss, torch.randn(6, 4), torch.zeros(6, dtype=torch.int64), 6, CPU
        )
    assert set(taken.terms) == {"cross_entropy"} and taken.total.shape == ()


CPU = torch.device("cpu")


def test_batches_come_in_order_and_each_once() -> None:
    read: list[list[int]] = []

    def reader(index: np.ndarray) -> Tensor:
        read.append(index.tolist())
        return torch.from_numpy(index).float()

    steps = [(np.array([4, 2]), 2), (np.array([0]), 3), (np.array([1, 3]), 2)]
    given = [
        (x.tolist(), label.tolist(), size)
        for x, label, size in ahead(reader, np.array([9, 8, 7, 6, 5]), steps, CPU)
    ]
    assert given == [([4, 2], [5, 7], 2), ([0], [9], 3), ([1, 3], [8, 6], 2)]
    assert read == [[4, 2], [0], [1, 3]]


class FakeCuda:
    """The part of torch.cuda that copies use, written down."""

    OutOfMemoryError = torch.cuda.OutOfMemoryError

    def __init__(self) -> None:
        self.done: list[str] = []

    def Stream(self, device: torch.device) -> FakeCuda:
        return self

    @contextmanager
    def stream(self, stream: FakeCuda) -> Iterator[None]:
        self.done.append("on the side")
        yield

    def record_event(self) -> str:
        return "event"

    def current_stream(self, device: torch.device) -> FakeCuda:
        return self

    def wait_event(self, event: str) -> None:
        self.done.append("waits on the device")


def test_copies_run_beside_the_step_which_waits_for_them_on_the_device_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda()
    monkeypatch.setattr(ahead_module.torch, "cuda", cuda)
    monkeypatch.setattr(ahead_module, "sent", lambda t, device: t.clone())
    monkeypatch.setattr(Tensor, "record_stream", lambda t, stream: cuda.done.append("kept"))
    x = torch.ones(2)
    arrived = Copies(torch.device("cuda")).begin(x)
    assert cuda.done == ["on the side"]
    (moved,) = arrived()
    assert torch.equal(moved, x) and moved is not x
    assert cuda.done == ["on the side", "waits on the device", "kept"]


def test_a_batch_without_room_on_the_device_is_left_to_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(tensor: Tensor, device: torch.device) -> Tensor:
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(ahead_module.torch, "cuda", FakeCuda())
    monkeypatch.setattr(ahead_module, "sent", full)
    x = torch.ones(2)
    assert Copies(torch.device("cuda")).begin(x)()[0] is x


def eager(loss: Callable[..., Any]) -> Callable[..., Any]:
    return torch._dynamo.optimize("eager", nopython=True)(loss)  # type: ignore[no-any-return,attr-defined]


def test_a_compiled_loss_is_compiled_once_and_trains_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def compile_(loss: Callable[..., Any]) -> Callable[..., Any]:
        made.append(loss.__name__)
        return eager(loss)

    monkeypatch.setattr(torch, "compile", compile_)
    plain, fast = tiny(epochs=2), tiny(epochs=2, compile=True)
    loop([]).train(plain, Rows())
    assert made == []
    loop([]).train(fast, Rows())
    assert made == ["loss"]
    torch.testing.assert_close(fast.state_dict(), plain.state_dict())


def test_a_compiler_that_fails_is_named_with_the_way_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(
        torch,
        "compile",
        lambda loss: torch._dynamo.optimize(broken)(loss),  # type: ignore[attr-defined]
    )
    with pytest.raises(
        UserError,
        match=r"compiler fails on the loss of Tiny on cpu .*no C\+\+ "
        r"compiler.*train\.compile=false",
    ):
        loop([]).train(tiny(compile=True), Rows())


def test_processes_that_share_a_run_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "several", lambda: True)
    with pytest.raises(UserError, match=r"train\.compile works in one process"):
        compiled.loss_of(tiny(compile=True))


def test_float16_is_refused_with_the_reason_and_the_way_on() -> None:
    with pytest.raises(UserError, match=r"precision.*float16.*does not scale the loss.*bfloat16"):
        build(TrainConfig, merge([Layer({"precision": "float16"}, "--set")]), "train")


def test_a_loss_that_is_not_compiled_leaves_the_identity_as_it_was() -> None:
    assert "compile" not in TrainConfig().model_dump()
    assert TrainConfig(compile=True).model_dump()["compile"] is True
