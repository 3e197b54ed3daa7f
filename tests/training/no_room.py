"""Models that stand in for those that a device has no room for, and how they are trained: for tests
of a training step without room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from test_loop import Rows, tiny
from torch import Tensor, nn

from zslkit.functional import self_calibration, whole_sum
from zslkit.model import GradientConfig, GradientModel, Task
from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent

CPU = torch.device("cpu")
ALWAYS = 10**9
SHORT: dict[str, Any] = {"optimizer": "sgd", "lr": 0.1, "epochs": 2, "steps_per_epoch": 4}


class ExternalWeights(torch.autograd.graph.saved_tensors_hooks):
    """torch's save_on_cpu as a GPU has it: what is kept for the backward pass is a copy."""

    now, kept = False, 0

    def __init__(self) -> None:
        super().__init__(self._pack, lambda tensor: tensor.clone())

    def __enter__(self) -> None:
        ExternalWeights.now = True
        super().__enter__()

    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)
        ExternalWeights.now = False

    @staticmethod
    def _pack(tensor: Tensor) -> Tensor:
        ExternalWeights.kept += 1
        return tensor.detach().clone()


class Small(GradientModel):
    """Two layers on a device with room for a step over `room` images, or over `room_elsewhere` if
    the host keeps what it can.

    where: the pass in which the memory is at its end; on the way back the gradients of the last
        layer are there by then.
    """

    inputs = ("pooled",)
    loss_is_mean = True
    Config = GradientConfig
    where = "forward"

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, task.n_attributes)
        self.room, self.room_elsewhere = ALWAYS, ALWAYS
        self.asked: list[int] = []

    def hidden(self, x: Tensor) -> Tensor:
        return self.first(x).tanh()

    def scores(self, x: Tensor) -> Tensor:
        h = self.hidden(x)
        if self.training:
            self.asked.append(len(x))
            if len(x) > (self.room_elsewhere if ExternalWeights.now else self.room):
                if self.where == "forward":
                    raise torch.cuda.OutOfMemoryError("no room")
                h.register_hook(self._end)
        return self.last(h) @ self.attributes.T

    @staticmethod
    def _end(gradient: Tensor) -> None:
        raise torch.cuda.OutOfMemoryError("no room")

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        z = self.scores(x)
        return {
            "cross_entropy": nn.functional.cross_entropy(z, label),
            "parameters": 0.1 * self.last.weight.square().sum(),
        }


class SmallBackward(Small):
    where = "backward"


class Drops(Small):
    def hidden(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().hidden(x), 0.4, self.training)


class Undeclared(Drops):
    loss_is_mean = False


class Logarithm(Drops):
    """A term that is the logarithm of a mean."""

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {
            **super().loss(x, label),
            "calibration": self_calibration(self.scores(x), torch.tensor([True, True, False])),
        }


class Sum(Drops):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {**super().loss(x, label), "sum": 0.01 * whole_sum(self.scores(x).square().sum())}


class Normalised(Drops):
    statistics = True

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.norm = nn.BatchNorm1d(5, track_running_stats=self.statistics)

    def hidden(self, x: Tensor) -> Tensor:
        return super().hidden(self.norm(self.first(x)) @ self.first.weight)


class NormalisedWithoutStatistics(Normalised):
    statistics = False


class Moving(Drops):
    """It keeps a mean of what it has seen, as a buffer that every batch moves; made anew each time,
    or in place."""

    anew = False

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("middle", torch.zeros(4))

    def hidden(self, x: Tensor) -> Tensor:
        if self.training:
            middle = 0.9 * self.middle + 0.1 * x.mean(dim=0)
            self.middle = middle if self.anew else self.middle.copy_(middle)
        return super().hidden(x - self.middle)


class MovingAnew(Moving):
    anew = True


class MovingData(Moving):
    """It writes past autograd, which counts no version then."""

    def hidden(self, x: Tensor) -> Tensor:
        if self.training:
            self.middle.data.lerp_(x.mean(dim=0), 0.1)
        return Drops.hidden(self, x - self.middle)


def train(
    kind: type[Small],
    room: int = ALWAYS,
    room_elsewhere: int = ALWAYS,
    path: Path | None = None,
    **settings: Any,
) -> tuple[Small, list[dict[str, Any]]]:
    """A model trained on six images a step, and the log."""
    model = tiny(kind, **{**SHORT, **settings})
    assert isinstance(model, Small)
    model.room, model.room_elsewhere = room, room_elsewhere
    lines: list[dict[str, Any]] = []
    Loop(
        seed=3,
        device=CPU,
        reporter=Silent(),
        log=lambda **values: lines.append(values),
        checkpoint_path=path,
    ).train(model, Rows())
    return model, lines


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[k], theirs[k]) for k in mine)


def epochs(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines if "epoch" in line]
