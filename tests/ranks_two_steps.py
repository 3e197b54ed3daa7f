"""Two steps of a small network with everything that looks at a whole batch, in float64; started by torchrun or alone.

`python ranks_two_steps.py OUT WHERE...`: the first process writes gradients of the first step, parameters, buffers and the log to
OUT/WHERE.pt. WHERE: fits; forward or backward, in which the second process runs out of memory in the middle of each step until the host
keeps something for it; never, if that does not help; parts, if the loss is a mean and the second process has room for two images.
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
    """A mean, a logarithm of a mean, a sum, a term of parameters, both kinds of batch normalisation, and a parameter without gradient."""

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


def runs_out(model: Everything, where: str) -> None:
    """Make the model run out of memory in the middle of each step, where much has been exchanged already."""
    room = {"parts": 2}.get(where, 0)
    module = model.conv if where == "parts" else model.act

    def full(gradient: Tensor | None = None) -> None:
        raise torch.cuda.OutOfMemoryError("no room")

    def hook(module: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        if len(made) > room and (where == "never" or not ExternalWeights.now):
            made.register_hook(full) if where == "backward" else full()

    module.register_forward_hook(hook)


class ExternalWeights(torch.autograd.graph.saved_tensors_hooks):
    """torch's save_on_cpu as a GPU has it: what is kept for the backward pass is a copy."""

    now = False

    def __init__(self) -> None:
        super().__init__(lambda tensor: tensor.detach().clone(), lambda tensor: tensor.clone())

    def __enter__(self) -> None:
        ExternalWeights.now = True
        super().__enter__()

    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)
        ExternalWeights.now = False


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
    """Two steps with what befalls the second process."""
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
        epochs=1, steps_per_epoch=2, batch_size=BATCH, optimizer="sgd", lr=0.1, weight_decay=0.0
    )
    kind = Mean if where == "parts" else Everything
    model = kind(GradientConfig(train=train), task).double()
    if not distributed.first() and where != "fits":
        torch.autograd.graph.save_on_cpu = ExternalWeights  # type: ignore[misc, assignment]
        runs_out(model, where)
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
