"""The loss of a model, compiled by torch if `train.compile` asks for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zslkit.errors import UserError
from zslkit.model import GradientModel
from zslkit.utils import distributed

Loss = Callable[[Tensor, Tensor], dict[str, Tensor]]


def loss_of(model: GradientModel) -> Loss:
    """The model's loss, compiled if its settings ask for it.

    Raises:
        UserError: Several processes share the training, which cannot be compiled; or, when called,
            torch's compiler fails on this machine.
    """
    if not model.config.train.compile:
        return model.loss
    if distributed.several():
        raise UserError(
            "train.compile works in one process, and several share this run; set "
            "train.compile=false, or start one process"
        )
    compiled: Loss = torch.compile(model.loss)

    def loss(x: Tensor, label: Tensor) -> dict[str, Tensor]:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return compiled(x, label)
        except TorchDynamoException as error:
            cause = getattr(error, "inner_exception", error)
            why = " ".join(str(cause).split())[:200]
            raise UserError(
                f"torch's compiler fails on the loss of {type(model).__name__} on {x.device} "
                f"({type(cause).__name__}: {why}); set train.compile=false"
            ) from error

    return loss
