"""Two steps of a small network with everything that looks at a whole batch, in float64; started by
torchrun or alone.

`python ranks_two_steps.py OUT WHERE...`: the first process writes gradients of the first step,
parameters, buffers and the log to
OUT/WHERE.pt. WHERE: whole; parts, if the loss is a mean and each process takes its share in two
parts; full, if the second process
runs out of memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from zslkit.cli.failure import State, exit_code_of
from zslkit.config import TrainConfig
from zslkit.functional import self_calibration, whole_batch, whole_sum
from zslkit.model import GradientConfig, GradientModel, Task
from zslkit.training.loop import Loop
from zslkit.utils import distributed
from zslkit.utils.progress import Silent

BATCH = 7  # of two processes, one has three images and the other four


class Everything(GradientModel):
    """A mean, a logarithm of a mean, a sum, a term of parameters, both kinds of batch
    normalisation, and a parameter without gradient."""

    inputs = ("map",)
    loss_is_mean = True
    Config = GradientConfig

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = timm.layers.BatchNormAct2d(4)
        self.head = nn.Linear(4, 3)
        self.last = nn.BatchNorm1d(3, affine=False)
        self.idle = nn.Parameter(torch.ones(2))

    def scores(self, x: Tensor) -> Tensor:
        return self.last(self.head(self.act(self.norm(self.conv(x.double()))).mean(dim=(2, 3))))

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        z = self.scores(x)
        return {
            "mean": nn.functional.cross_entropy(z, label),
            "logarithm": self_calibration(z, self.seen),
            "sum": 0.1 * whole_sum(z.abs().sum()),
            "spread": whole_batch(z.sigmoid()).std(dim=0).sum(),
            "parameters": self.head.weight.square().sum(),
        }


class Mean(Everything):
    """What of it can be taken in parts."""

    def scores(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x.double()).mean(dim=(2, 3)))

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        z = self.scores(x)
        return {
            "mean": nn.functional.cross_entropy(z, label),
            "parameters": self.head.weight.square().sum(),
        }


def full(module: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
    raise torch.cuda.OutOfMemoryError("no room")


class Rows:
    """Twenty noisy maps of two seen classes."""

    labels = np.arange(20) % 2

    def __len__(self) -> int:
        return 20

    def batch(self, index: np.ndarray) -> Tensor:
        x = torch.randn(20, 2, 5, 4, generator=torch.Generator().manual_seed(1))
        return (x + torch.arange(20).view(-1, 1, 1, 1) % 2)[torch.from_numpy(index)]

    def everything(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def main(out: Path, *places: str) -> None:
    distributed.join()
    for where in places:
        take(out, where)
    distributed.leave()


def take(out: Path, where: str) -> None:
    """Two steps."""
    torch.manual_seed(distributed.local())  # each starts elsewhere, and the first one counts
    seen = np.array([True, True, False])
    task = Task(
        "toy",
        ("a", "b", "c"),
        seen,
        np.eye(3, dtype=np.float32),
        ("p", "q", "r"),
        "map",
        (2, 5, 4),
        (2, 5, 4),
    )
    train = TrainConfig(
        epochs=1,
        steps_per_epoch=2,
        batch_size=BATCH,
        optimizer="sgd",
        lr=0.1,
        weight_decay=0.0,
        accumulate=2 if where == "parts" and distributed.several() else 1,
    )
    kind = Mean if where == "parts" else Everything
    model = kind(GradientConfig(train=train), task).double()
    if not distributed.first() and where == "full":
        model.act.register_forward_hook(full)
    gradients: dict[str, Tensor] = {}
    lines: list[dict[str, Any]] = []
    step = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, *arguments: Any) -> Any:
        if not gradients:
            gradients.update(
                {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
            )
        return step(self, *arguments)

    torch.optim.SGD.step = noted  # type: ignore[method-assign]
    try:
        Loop(
            seed=3,
            device=torch.device("cpu"),
            reporter=Silent(),
            log=lambda **values: lines.append(values),
        ).train(model, Rows())
    finally:
        torch.optim.SGD.step = step  # type: ignore[method-assign]
    if distributed.first():
        (line,) = (line for line in lines if "epoch" in line)
        log = {k: v for k, v in line.items() if k not in ("phase", "seconds")}
        torch.save(
            {"gradients": gradients, "state": model.state_dict(), "log": log}, out / f"{where}.pt"
        )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except Exception as error:
        sys.exit(exit_code_of(error, State()))
