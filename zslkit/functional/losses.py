"""Loss terms and score biases shared by several models, also for batches split over processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zslkit.utils import distributed


def whole_batch(share: Tensor) -> Tensor:
    """Rows of all images of a batch that is split between processes.

    For loss terms that are not means over images, such as the logarithm of a mean. Gradients flow
    to the process that holds the image.

    Args:
        share: `(b, ...)` rows of this process.

    Returns:
        `(B, ...)` rows of all processes; `share` itself if the batch is not split.
    """
    size = distributed.batch()
    if size is None:
        return share
    rows = share.new_zeros(size, *share.shape[1:])
    rows[distributed.share(size)] = share
    return whole_sum(rows)


def whole_sum(share: Tensor) -> Tensor:
    """Sum over all images of a batch that is split between processes.

    Args:
        share: Sum over the images of this process.

    Returns:
        Sum over all processes; `share` itself if the batch is not split.
    """
    return share if distributed.batch() is None else _WholeSum.apply(share)


class _WholeSum(torch.autograd.Function):
    """Sum over processes.

    Every process uses the sum in its own loss, so the gradient is a sum over processes too.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        return distributed.summed(share.detach().clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return distributed.summed(grads[0].clone(memory_format=torch.contiguous_format))


def seen_bias(seen: Tensor, bias: float) -> Tensor:
    """Bias `(C,)` for class scores: -bias for seen and +bias for unseen classes.

    Args:
        seen: `(C,)` bool.
        bias: The bias.
    """
    return torch.where(seen, -bias, bias)


def self_calibration(z: Tensor, seen: Tensor) -> Tensor:
    """-log of the batch mean of the probability mass on unseen classes.

    Source: DAZLE (Huynh and Elhamifar 2020), section 3.4.

    Args:
        z: `(B, C)` biased scores.
        seen: `(C,)` bool.

    Returns:
        Scalar; 0 without unseen classes.
    """
    # Without unseen classes nothing is masked, so that the mass is 1; asking would stop the device.
    masked = z.masked_fill(seen & ~seen.all(), float("-inf"))
    mass = whole_batch(torch.logsumexp(masked, dim=1) - torch.logsumexp(z, dim=1))
    count = z.new_full((), float(mass.shape[0]))  # made on the device
    return torch.log(count) - torch.logsumexp(mass, dim=0)


def distillation_distance(x: Tensor, y: Tensor) -> Tensor:
    """Batch mean of sum |d|^3 / ||d||_2 plus the Jensen-Shannon divergence, with d = x - y.

    Neither side is detached. 1e-9 inside the root keeps the gradient finite where x equals y.
    Sources: MSDN (Chen et al. 2022), DEDN (Rao et al. 2024).

    Args:
        x: `(B, n)` logits.
        y: `(B, n)` logits.

    Returns:
        Scalar.
    """
    d = x - y
    cubic = (d.abs() ** 3).sum(dim=1) / (d.square().sum(dim=1) + 1e-9).sqrt()
    log_p, log_q = x.log_softmax(dim=1), y.log_softmax(dim=1)
    log_m = torch.logaddexp(log_p, log_q) - torch.log(x.new_full((), 2.0))
    divergence = (
        (log_p.exp() * (log_p - log_m)).sum(dim=1) + (log_q.exp() * (log_q - log_m)).sum(dim=1)
    ) / 2
    return (cubic + divergence).mean()
