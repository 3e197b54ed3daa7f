"""Averages the weights over the last epochs of a training: `train.average_last`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from zslkit.config import TrainConfig
from zslkit.training.shared import from_first

Passes = Callable[[], None]
"""Passes the batches of an epoch through the loss, for the statistics of batch normalisation."""


class WeightAverage:
    """Mean of trained weights after each of the last epochs (Izmailov et al., UAI 2018).

    The training goes on from its own weights; the mean is what is scored, validated and kept.
    """

    def __init__(
        self, config: TrainConfig, model: nn.Module, parameters: Iterable[nn.Parameter]
    ) -> None:
        epochs = config.shares_epochs
        self._first = epochs - max(1, round(config.average_last * epochs)) + 1
        self._model = model
        self._trained = nn.ParameterList(parameters)
        self._mean = AveragedModel(self._trained)

    def after_epoch(self, epoch: int) -> None:
        """Add the weights, if this epoch (from 1) is one of the last."""
        if epoch >= self._first:
            self._mean.update_parameters(self._trained)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return self._mean.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state that `state_dict` returned."""
        self._mean.load_state_dict(state)
        self._mean.to(self._trained[0].device)

    def from_first(self) -> None:
        """Copy the first process's mean to all processes."""
        from_first(self._mean)

    def put_in(self, passes: Passes) -> None:
        """Give the model the mean, and its batch normalisation the statistics of these weights.

        Before the first epoch that counts, the model stays as it is.
        """
        if not int(self._mean.n_averaged):
            return
        with torch.no_grad():
            means = self._mean.module.parameters()
            for weight, mean in zip(self._trained.parameters(), means, strict=True):
                weight.copy_(mean)
        # torch's update_bn also empties the statistics of layers that a model keeps frozen.
        self._model.train()
        layers = [m for m in self._model.modules() if isinstance(m, _BatchNorm)]
        norms = [m for m in layers if m.training and m.track_running_stats]
        if not norms:
            return
        statistics = {id(b) for m in norms for b in m.buffers()}
        others = [(b, b.clone()) for b in self._model.buffers() if id(b) not in statistics]
        momenta = [m.momentum for m in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over batches
        try:
            with torch.no_grad():
                passes()
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
        _fill(others)

    @contextmanager
    def in_use(self, passes: Passes) -> Iterator[None]:
        """The model with the mean; afterwards it has its own weights and buffers again."""
        own = [(t, t.detach().clone()) for t in (*self._trained, *self._model.buffers())]
        try:
            self.put_in(passes)
            yield
        finally:
            _fill(own)


def _fill(kept: Iterable[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for tensor, value in kept:
            tensor.copy_(value)
