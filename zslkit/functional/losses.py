"""Loss terms and biases that several models of the field share; means over a batch that several processes may hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zslkit.utils import distributed


def whole_batch(share: Tensor) -> Tensor:
    """Rows of all images of the batch, (B, ...), of those that this process has, (b, ...); the same tensor where one process has all.

    For a loss term that is no mean over images, such as the logarithm of a mean. Gradients flow to the process that has the image.
    """
    size = distributed.batch()
    if size is None:
        return share
    rows = share.new_zeros(size, *share.shape[1:])
    rows[distributed.share(size)] = share
    return whole_sum(rows)


def whole_sum(share: Tensor) -> Tensor:
    """A sum over all images of the batch, of the sum over those that this process has; the same tensor where one process has all."""
    return share if distributed.batch() is None else _WholeSum.apply(share)


class _WholeSum(torch.autograd.Function):
    """The sum over processes. Each of them uses the sum in its own part of the loss, so its gradient is a sum over them too."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        return distributed.summed(share.detach().clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return distributed.summed(grads[0].clone(memory_format=torch.contiguous_format))


def seen_bias(seen: Tensor, bias: float) -> Tensor:
    """(C,) float: -bias for seen classes and +bias for unseen ones, given seen (C,) bool."""
    return torch.where(seen, -bias, bias)


def self_calibration(z: Tensor, seen: Tensor) -> Tensor:
    """-log of the batch mean of the probability mass on unseen classes (DAZLE, section 3.4).

    z (B, C) biased scores; seen (C,) bool. Returns a scalar; 0 if there is no unseen class.
    """
    if bool(seen.all()):
        return z.new_zeros(())
    mass = torch.logsumexp(z.masked_fill(seen, float("-inf")), dim=1) - torch.logsumexp(z, dim=1)
    mass = whole_batch(mass)
    return -(torch.logsumexp(mass, dim=0) - torch.log(z.new_tensor(float(len(mass)))))


def distillation_distance(x: Tensor, y: Tensor) -> Tensor:
    """Dist(x, y) of DEDN.md and MSDN: mean over the batch of sum |d|^3 / ||d||_2, plus Jensen-Shannon divergence.

    x, y (B, n) with d = x - y; neither side is detached. Returns a scalar. 1e-9 inside the root keeps the gradient
    finite where x equals y.
    """
    d = x - y
    cubic = (d.abs() ** 3).sum(dim=1) / (d.square().sum(dim=1) + 1e-9).sqrt()
    log_p, log_q = x.log_softmax(dim=1), y.log_softmax(dim=1)
    log_m = torch.logaddexp(log_p, log_q) - torch.log(x.new_tensor(2.0))
    divergence = (
        (log_p.exp() * (log_p - log_m)).sum(dim=1) + (log_q.exp() * (log_q - log_m)).sum(dim=1)
    ) / 2
    return (cubic + divergence).mean()
