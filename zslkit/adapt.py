"""Makes a model from the network and the loss of an existing research script.

    class Mine(wrap(make, loss)):
        inputs = ("map",)
        citation = "..."

For a new model, subclass GradientModel (zslkit.model).
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
    """Builds the network for a task.

    Every further parameter needs a type and a default, and becomes a setting of the model.
    """

    def __call__(self, task: Task, /, **settings: Any) -> nn.Module: ...


def wrap(
    factory: Factory,
    loss: Callable[[Tensor, Tensor], Terms] = F.cross_entropy,
    *,
    over: Literal["seen", "all"] = "seen",
) -> type[GradientModel]:
    """Base class of a model that trains `factory(task, ...)` with `loss`.

    Args:
        factory: Builds the network, which maps inputs `(B, D)` or `(B, D, H, W)` to class scores
            `(B, C)`; images pass through the trained backbone first. Parameters after the task
            become config keys: `dropout: float = 0.1` is set by `--set dropout=0.2`.
        loss: Takes scores and labels `(B,)`; returns a scalar or named scalars, as
            GradientModel.loss. A loss that is a module is copied for each model and trained with
            it.
        over: "seen" passes scores of the seen classes `(B, C_s)` and labels 0..C_s-1; "all" passes
            `(B, C)` and class ids. Set protocol = "class-inductive" if the loss uses scores of
            unseen classes.

    Raises:
        TypeError: A parameter of the factory has no type or no default, or its name is a key of
            every model.
    """

    class Wrapped(GradientModel):
        Config = _config_of(factory)

        column: Tensor

        def __init__(self, config: GradientConfig, task: Task) -> None:
            super().__init__(config, task)
            usual = GradientConfig.model_fields
            own = [name for name in type(config).model_fields if name not in usual]
            self.network = factory(task, **{name: getattr(config, name) for name in own})
            self.criterion = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
            # Index of each class among the seen classes.
            self.register_buffer("column", self.seen.long().cumsum(0) - 1, persistent=False)

        def scores(self, x: Tensor) -> Tensor:
            scores: Tensor = self.network(self.embed(x))
            return scores

        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            scores = self.scores(x)
            if over == "seen":
                scores, label = scores[:, self.seen], self.column[label]
            terms = self.criterion(scores, label)
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
