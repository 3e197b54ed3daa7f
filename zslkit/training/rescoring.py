"""Checks that the scores of an image depend on that image alone: scores some images again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from zslkit.dataset import Index
from zslkit.model import Model
from zslkit.training.scoring import SCORE_BATCH, Rows, Table, answer
from zslkit.training.view import InputSource
from zslkit.utils.memory import is_out_of_memory

FEWEST, SAMPLE = 8, 16
"""Number of images scored again: one in a hundred, within these bounds."""
CLEAR = 0.05
"""A larger difference, as a share of an image's score spread, is not rounding (which stays below
a hundredth in reduced precision)."""


@dataclass(frozen=True)
class Rescored:
    """Result of scoring a sample of images alone and among other images.

    Attributes:
        images: Size of the sample.
        moved: Images whose scores clearly change.
        drift: Largest change of a score, as a share of the spread of its image's scores.
        fault: Another rule that the model breaks, as a sentence; "" if there is none.
    """

    images: int
    moved: int
    drift: float
    fault: str = ""

    @property
    def broken(self) -> str:
        """What is wrong, as the rest of a sentence about the model; "" if nothing is."""
        # A single image may lie on an edge, as in a model of nearest neighbours.
        if self.moved >= min(2, self.images):
            return (
                f"the scores of {self.moved} of {self.images} test images change "
                f"by up to {self.drift:.0%} of their spread "
                "when the images are scored alone or beside others"
                f"{f'; {self.fault}' if self.fault else ''}; let `scores` look "
                "at each image by itself, keep no count and draw nothing at random"
            )
        return self.fault


def rescore(
    model: Model, source: InputSource, index: Index, rows: Rows, device: torch.device
) -> Rescored:
    """Score a sample of images again, each alone and all in one batch, and compare with `rows`.

    `index` (N,) names the images of the rows in `source`.
    """
    count = len(index)
    size = min(count, max(FEWEST, min(SAMPLE, count // 100)))
    # Random, since a regular sample might meet the batches of `mixed` again.
    sample = np.sort(np.random.default_rng([count, 1]).permutation(count)[:size])
    near = (sample[:, None] + np.arange(-(-SCORE_BATCH // len(sample)))) % count
    company = np.concatenate([sample, np.setdiff1d(near, sample)])[:SCORE_BATCH]
    before = rows.take(sample)
    x = source.batch(index[company]).to(device)
    given = x.clone()
    beside = answer(model, x)[: len(sample)]
    fault = ""
    if not torch.equal(x, given):
        fault = "`scores` changes its inputs in place; let it work on a copy"
    try:
        singly = [answer(model, given[i : i + 1].clone()) for i in range(len(sample))]
    except (ValueError, RuntimeError, IndexError) as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Rescored(len(sample), 0, 0.0, f"`scores` cannot score an image alone ({why})")
    training = [name for name, module in model.named_modules() if module.training]
    if training and not fault:
        fault = f"`scores` leaves {training[0] or 'the model'} in training mode; "
        fault += "leave the mode to the harness"
    apart = [differences(before, again) for again in (beside, np.concatenate(singly))]
    clear = np.logical_or.reduce([(drift > CLEAR) | flips for drift, flips in apart])
    drift = float(max(drift.max() for drift, _ in apart))
    return Rescored(len(sample), int(clear.sum()), drift, fault)


def differences(before: Table, again: Table) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Compare two tables of scores (N, C) by image.

    Returns:
        drift: (N,), the largest difference as a share of the spread of the image's scores.
        flips: (N,) bool, whether another class wins by more than rounding explains.
    """
    old, new = before.astype(np.float64), again.astype(np.float64)
    middle = np.median(old, axis=1, keepdims=True)
    # The spread includes the score's own distance from the median, since a model may mask classes
    # by a huge number; the last term bounds the rounding of float32 sums of that size.
    away = np.abs(old - middle)
    spread = away + np.median(away, axis=1, keepdims=True) + 1e-4 * (np.abs(old) + np.abs(middle))
    drift = (np.abs(new - old) / np.maximum(spread, np.finfo(np.float32).tiny)).max(axis=1)
    rows, first, winner = np.arange(len(old)), old.argmax(axis=1), new.argmax(axis=1)
    lead = new[rows, winner] - new[rows, first]
    return drift, lead > 1e-3 * (np.abs(new[rows, winner]) + np.abs(new[rows, first]))


def fingerprint(model: Model) -> int:
    """Checksum of all parameters and buffers, to detect a change by scoring."""
    digest, named = 0, [*model.named_parameters(), *model.named_buffers()]
    for _, tensor in sorted(named, key=lambda pair: pair[0]):
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest = zlib.crc32(raw.numpy().data, digest)
    return digest
