"""A model of one number that its loss pulls up, by hand computable in every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from zslkit.config import Config, build
from zslkit.config.merge import Layer, merge
from zslkit.model import GradientConfig, GradientModel, Task
from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent


class Inner(Config):
    weight: float = 2.0
    steps: int = 3


class PullConfig(GradientConfig):
    w: float = Field(0.5, ge=0)
    spare: float = 1.0
    maybe: float | None = None
    count: int = 3
    inner: Inner = Inner()


class Pull(GradientModel):
    """One number p with the loss -w * p: SGD with rate r moves it up by r * w in each step."""

    inputs = ("pooled",)
    Config = PullConfig

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.p = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.held = config  # as a part of a model may hold it
        self.weights: list[tuple[float, float]] = []
        self.places: list[float] = []

    def scores(self, x: Tensor) -> Tensor:
        return x[:, :3]

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        self.weights.append((self.config.w, self.held.inner.weight))
        self.places.append(float(self.p.detach()))
        return {"pull": -self.config.w * self.p}


class Rows:
    labels = np.array([0, 1, 2, 0])

    def __len__(self) -> int:
        return 4

    def batch(self, index: np.ndarray) -> Tensor:
        return torch.ones(len(index), 4)

    def everything(self) -> tuple[Tensor, Tensor]:
        return torch.ones(4, 4), torch.from_numpy(self.labels)


def pull(kind: type[GradientModel] = Pull, **train: Any) -> Any:
    """Two steps an epoch of SGD with rate 1 and no momentum."""
    plain = {"epochs": 4, "batch_size": 2, "optimizer": "sgd", "lr": 1.0}
    plain |= {"momentum": 0.0, "weight_decay": 0.0}
    task = Task(
        "made up", ("a", "b", "c"), np.ones(3, bool), np.eye(3, dtype=np.float32),
        ("x", "y", "z"), "pooled", (4,),
    )  # fmt: skip
    config = build(kind.Config, merge([Layer({"train": {**plain, **train}}, "test")]), "pull")
    return kind(config, task)


def loop(path: Path | None = None, observer: Any = None) -> Loop:
    return Loop(
        seed=0,
        device=torch.device("cpu"),
        reporter=Silent(),
        log=lambda **values: None,
        checkpoint_path=path,
        observer=observer,
    )


class Stops:
    """Notes p after every epoch, and breaks off after one of them."""

    def __init__(self, at: int = 0, end: int = 0) -> None:
        self.history: list[dict[str, Any]] = []
        self.places: list[float] = []
        self._at, self._end = at, end

    def after_epoch(self, epoch: int, model: Any) -> bool:
        self.places.append(float(model.p))
        self.history.append({"epoch": float(epoch), "stop": float(epoch == self._end)})
        if epoch == self._at:
            raise KeyboardInterrupt
        return epoch == self._end
