"""The check of models that let several processes share a batch: their shares make the loss of the whole."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zslkit import ranks
from zslkit.model import GradientModel
from zslkit.testing.answers import scores_of_each_image
from zslkit.testing.bench import Bench
from zslkit.testing.check import Failed, Skipped, check

BATCH, PROCESSES = 7, 2
"""Images and processes of the rehearsal: one has three images and the other four."""
DEPTH = 8
"""Sums over the whole batch that may build on each other."""


@check(
    reason="Processes that share the batches of a loss which is no mean over images train another model than one process does.",
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
    index = bench.dataset.split.trainval[np.random.default_rng(0).permutation(len(bench.dataset.split.trainval))[:BATCH]]
    x, label = bench.trained().inputs.source.batch(index), torch.from_numpy(bench.dataset.labels[index])
    # In evaluation mode: dropout draws other masks for other shares, and batch normalisation is the harness's.
    model.eval()
    with torch.no_grad():
        whole, together = float(_total(model, x, label)), _rehearsed(model, x, label)
    if not np.isclose(whole, together, rtol=1e-4, atol=1e-6):
        raise Failed(f"the loss of {BATCH} images is {whole:.6g}, and {together:.6g} where {PROCESSES} processes share them")


def _rehearsed(model: GradientModel, x: Tensor, label: Tensor) -> float:
    """The loss that processes would come to, acted one after another until no sum that they exchange changes any more."""
    told: list[list[Tensor]] = [[] for _ in range(PROCESSES)]
    for _ in range(DEPTH + 1):
        loss, now = 0.0, []
        for number in range(PROCESSES):
            meeting = _Meeting([told[other] for other in range(PROCESSES) if other != number])
            with ranks.rehearsing(number, PROCESSES, len(x), meeting):
                part = ranks.share(len(x))
                loss += len(x[part]) / len(x) * float(_total(model, x[part], label[part]))
            now.append(meeting.mine)
        if [len(m) for m in now] == [len(m) for m in told] and all(
            torch.equal(a, b) for mine, before in zip(now, told, strict=True) for a, b in zip(mine, before, strict=True)
        ):
            break
        told = now
    return loss


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


def _total(model: GradientModel, x: Tensor, label: Tensor) -> Tensor:
    terms = copy.deepcopy(model).loss(x, label)  # a loss that counts its calls is another check's
    return terms["total"] if "total" in terms else torch.stack(list(terms.values())).sum()
