"""Two steps of a small network with everything that looks at a whole batch, in float64; started by torchrun or alone.

`python two_steps.py OUT`: the first process writes gradients of the first step, parameters, buffers and the log to OUT.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from zslkit import ranks
from zslkit.config import TrainConfig
from zslkit.functional import self_calibration, whole_batch, whole_sum
from zslkit.model import GradientConfig, GradientModel, Task
from zslkit.progress import Silent
from zslkit.training.loop import Loop

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


def main(out: Path) -> None:
    ranks.join()
    torch.manual_seed(ranks.local())  # each starts elsewhere, and the first one counts
    seen = np.array([True, True, False])
    task = Task("toy", ("a", "b", "c"), seen, np.eye(3, dtype=np.float32), ("p", "q", "r"), "map", (2, 5, 4), (2, 5, 4))
    train = TrainConfig(epochs=1, steps_per_epoch=2, batch_size=BATCH, optimizer="sgd", lr=0.1, weight_decay=0.0)
    model = Everything(GradientConfig(train=train), task).double()
    gradients: dict[str, Tensor] = {}
    lines: list[dict[str, Any]] = []
    step = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, *arguments: Any) -> Any:
        if not gradients:
            gradients.update({k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None})
        return step(self, *arguments)

    torch.optim.SGD.step = noted  # type: ignore[method-assign]
    try:
        Loop(seed=3, device=torch.device("cpu"), reporter=Silent(), log=lambda **values: lines.append(values)).train(model, Rows())
    finally:
        torch.optim.SGD.step = step  # type: ignore[method-assign]
    if ranks.first():
        log = {k: v for k, v in lines[0].items() if k not in ("phase", "seconds")}
        torch.save({"gradients": gradients, "state": model.state_dict(), "log": log}, out)
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
