"""A model of a network and a loss as research scripts have them: for code that is there already.

    class Mine(wrap(make, loss)):
        inputs = ("map",)
        citation = "..."

A model that is written anew is better written as a GradientModel (zslkit.model).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import torch
from pydantic import create_model
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.model import GradientConfig, GradientModel, Task

Terms = Tensor | Mapping[str, Tensor]


class Factory(Protocol):
    """Makes the network for a task. Further parameters, each with a type and a default, are the model's settings."""

    def __call__(self, task: Task, /, **settings: Any) -> nn.Module: ...


def wrap(
    factory: Factory,
    loss: Callable[[Tensor, Tensor], Terms] = F.cross_entropy,
    *,
    over: Literal["seen", "all"] = "seen",
) -> type[GradientModel]:
    """A base class for a model that trains `factory(task, ...)` by `loss`.

    factory: the network maps inputs (B, D), (B, D, H, W) or, before it the trained backbone, images to class scores (B, C).
    Its parameters after the task become keys of the config: `dropout: float = 0.1` is `--set dropout=0.2`.
    loss: of scores and labels (B,), gives a scalar or named scalars as GradientModel.loss does. One that is a module is copied
    for each model and trained along.
    over: "seen" hands the loss the scores of the seen classes (B, C_s) and labels from 0 to C_s - 1, as scripts number them; "all" hands
    it (B, C) and class ids, and if the loss lets unseen classes' scores matter, protocol is "class-inductive".
    Raises TypeError if a parameter of the factory has no type, no default, or the name of a key that every model has.
    """

    class Wrapped(GradientModel):
        Config = _config_of(factory)

        column: Tensor

        def __init__(self, config: GradientConfig, task: Task) -> None:
            super().__init__(config, task)
            self.network = factory(
                task, **{name: getattr(config, name) for name in _own(type(config))}
            )
            self.criterion = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
            # The place of each class among the seen ones.
            self.register_buffer("column", self.seen.long().cumsum(0) - 1, persistent=False)

        def scores(self, x: Tensor) -> Tensor:
            scores: Tensor = self.network(self.embed(x))
            return scores

        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            scores = self.scores(x)
            terms = (
                self.criterion(scores[:, self.seen], self.column[label])
                if over == "seen"
                else self.criterion(scores, label)
            )
            return {"loss": terms} if isinstance(terms, torch.Tensor) else dict(terms)

    Wrapped.__doc__ = inspect.getdoc(factory)
    return Wrapped


def _config_of(factory: Factory) -> type[GradientConfig]:
    name = getattr(factory, "__name__", type(factory).__name__)
    _, *parameters = inspect.signature(factory, eval_str=True).parameters.values()
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.annotation is parameter.empty or parameter.default is parameter.empty:
            raise TypeError(
                f"{name}: the parameter {parameter.name} becomes a setting, so give it a type and "
                "a default: x: float = 0.1"
            )
        if parameter.name in GradientConfig.model_fields:
            raise TypeError(
                f"{name}: every model has a setting {parameter.name!r} already; call the "
                "parameter something else"
            )
        fields[parameter.name] = (parameter.annotation, parameter.default)
    return create_model(
        f"{name}_config", __base__=GradientConfig, __doc__=f"Settings of {name}.", **fields
    )


def _own(config: type[GradientConfig]) -> list[str]:
    return [name for name in config.model_fields if name not in GradientConfig.model_fields]
