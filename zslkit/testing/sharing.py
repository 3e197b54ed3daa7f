"""Check of `loss_is_mean`: the loss of a split batch equals the loss of the whole batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zslkit.model import GradientModel
from zslkit.testing.answers import scores_of_each_image
from zslkit.testing.bench import Bench
from zslkit.testing.check import check
from zslkit.testing.outcome import Failed, Skipped
from zslkit.utils import distributed

BATCH, PROCESSES = 7, 2
"""Images and processes of the simulation; one process has three images, the other four."""
DEPTH = 8
"""Most sums over the whole batch that may depend on each other."""


@check(
    reason=(
        "If the loss is not a mean over images, several processes would train another model "
        "than one process."
    ),
    hint=(
        "take means over the images in `loss`, pass other sums through "
        "zslkit.functional.whole_sum or whole_batch, or do not set loss_is_mean"
    ),
    after=[scores_of_each_image],
)
def loss_is_mean(bench: Bench) -> None:
    model = bench.trained().model
    if not isinstance(model, GradientModel):
        raise Skipped("it trains itself")
    if not model.loss_is_mean:
        raise Skipped("it does not declare loss_is_mean; one process trains it")
    trainval = bench.dataset.split.trainval
    index = trainval[np.random.default_rng(0).permutation(len(trainval))[:BATCH]]
    x = bench.trained().inputs.source.batch(index)
    label = torch.from_numpy(bench.dataset.labels[index])
    # In evaluation mode: dropout masks differ between processes, and the harness handles batch
    # normalisation.
    model.eval()
    try:
        # In float64, which separates the logarithm of a mean from the mean of logarithms even for
        # similar images.
        whole, together, rtol = *_both(copy.deepcopy(model).double(), x.double(), label), 1e-10
    except RuntimeError:  # the loss creates tensors of a fixed type
        whole, together, rtol = *_both(model, x, label), 1e-4
    for name, value in whole.items():
        if not np.isclose(value, together[name], rtol=rtol, atol=rtol / 100):
            values = f"{value:.8g}, and {together[name]:.8g} where {PROCESSES} processes share them"
            raise Failed(f"the term {name} of {BATCH} images is {values}")


def _both(
    model: GradientModel, x: Tensor, label: Tensor
) -> tuple[dict[str, float], dict[str, float]]:
    """Loss terms of one process, and of several processes that share the batch."""
    with torch.no_grad():
        return _terms(model, x, label), _rehearsed(model, x, label)


def _rehearsed(model: GradientModel, x: Tensor, label: Tensor) -> dict[str, float]:
    """Loss terms of several processes, simulated in turn until their sums no longer change."""
    previous: list[list[Tensor]] = [[] for _ in range(PROCESSES)]
    for _ in range(DEPTH + 1):
        terms: dict[str, float] = {}
        now: list[list[Tensor]] = []
        for number in range(PROCESSES):
            meeting = _Meeting([previous[other] for other in range(PROCESSES) if other != number])
            with distributed.rehearsing(number, PROCESSES, len(x), meeting):
                part = distributed.share(len(x))
                for name, value in _terms(model, x[part], label[part]).items():
                    terms[name] = terms.get(name, 0.0) + len(x[part]) / len(x) * value
            now.append(meeting.mine)
        if all(
            len(mine) == len(before) and all(map(torch.equal, mine, before))
            for mine, before in zip(now, previous, strict=True)
        ):
            break
        previous = now
    return terms


class _Meeting:
    """Adds the tensors that the other processes gave at the same position in the previous round."""

    def __init__(self, others: Sequence[Sequence[Tensor]]) -> None:
        self.mine: list[Tensor] = []
        self._others = others

    def __call__(self, tensor: Tensor) -> Tensor:
        place = len(self.mine)
        self.mine.append(tensor.clone())
        for other in self._others:
            if place < len(other):
                tensor = tensor + other[place]
        return tensor


def _terms(model: GradientModel, x: Tensor, label: Tensor) -> dict[str, float]:
    # On a copy, since another check is about losses that change the model.
    return {name: float(value) for name, value in copy.deepcopy(model).loss(x, label).items()}
