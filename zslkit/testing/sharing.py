"""The check of models that let several processes share a batch: their shares make the loss of the whole."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zslkit.model import GradientModel
from zslkit.testing.answers import scores_of_each_image
from zslkit.testing.bench import Bench
from zslkit.testing.check import Failed, Skipped, check
from zslkit.utils import distributed

BATCH, PROCESSES = 7, 2
"""Images and processes of the rehearsal: one has three images and the other four."""
DEPTH = 8
"""Sums over the whole batch that may build on each other."""


@check(
    reason=(
        "Processes that share the batches of a loss which is no mean over images train another "
        "model than one process does."
    ),
    hint="take means over the images in `loss`, pass what is no mean through zslkit.functional.whole_sum or whole_batch, or leave "
    "loss_is_mean away",
    after=[scores_of_each_image],
)
def loss_is_mean(bench: Bench) -> None:
    model = bench.trained().model
    if not isinstance(model, GradientModel):
        raise Skipped("it trains itself")
    if not model.loss_is_mean:
        raise Skipped("it does not declare loss_is_mean; one process trains it")
    index = bench.dataset.split.trainval[
        np.random.default_rng(0).permutation(len(bench.dataset.split.trainval))[:BATCH]
    ]
    x, label = (
        bench.trained().inputs.source.batch(index),
        torch.from_numpy(bench.dataset.labels[index]),
    )
    # In evaluation mode: dropout draws other masks for other shares, and batch normalisation is the harness's.
    model.eval()
    try:
        # In float64, where the logarithm of a mean and the mean of logarithms are told apart even for images that are much alike.
        whole, together, rtol = *_both(copy.deepcopy(model).double(), x.double(), label), 1e-10
    except RuntimeError:  # its loss makes tensors of a fixed type
        whole, together, rtol = *_both(model, x, label), 1e-4
    for name, value in whole.items():
        if not np.isclose(value, together[name], rtol=rtol, atol=rtol / 100):
            told = f"{value:.8g}, and {together[name]:.8g} where {PROCESSES} processes share them"
            raise Failed(f"the term {name} of {BATCH} images is {told}")


def _both(
    model: GradientModel, x: Tensor, label: Tensor
) -> tuple[dict[str, float], dict[str, float]]:
    """The terms of the loss as one process has them, and as several that share the batch."""
    with torch.no_grad():
        return _terms(model, x, label), _rehearsed(model, x, label)


def _rehearsed(model: GradientModel, x: Tensor, label: Tensor) -> dict[str, float]:
    """The terms that processes would come to, acted one after another until no sum that they exchange changes any more."""
    told: list[list[Tensor]] = [[] for _ in range(PROCESSES)]
    for _ in range(DEPTH + 1):
        terms: dict[str, float] = {}
        now: list[list[Tensor]] = []
        for number in range(PROCESSES):
            meeting = _Meeting([told[other] for other in range(PROCESSES) if other != number])
            with distributed.rehearsing(number, PROCESSES, len(x), meeting):
                part = distributed.share(len(x))
                for name, value in _terms(model, x[part], label[part]).items():
                    terms[name] = terms.get(name, 0.0) + len(x[part]) / len(x) * value
            now.append(meeting.mine)
        if [len(mine) for mine in now] == [len(before) for before in told] and all(
            torch.equal(a, b)
            for mine, before in zip(now, told, strict=True)
            for a, b in zip(mine, before, strict=True)
        ):
            break
        told = now
    return terms


class _Meeting:
    """Sums what one process gives with what the others gave at the same place the last time."""

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
    # Of a copy: a loss that counts its calls is another check's.
    return {name: float(value) for name, value in copy.deepcopy(model).loss(x, label).items()}
