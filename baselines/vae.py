"""What variational autoencoders share: samples of a diagonal normal distribution, its divergence,
and distances."""

from __future__ import annotations

import torch
from torch import Tensor

Posterior = tuple[Tensor, Tensor]
"""Mean and logarithm of the variance, (B, L) each, of a normal distribution N(mu, diag sigma^2) for
every row."""


def sample(posterior: Posterior, noise: Tensor) -> Tensor:
    """z = mu + sigma * e (B, L), with e (B, L) standard normal."""
    mu, log_variance = posterior
    return mu + (log_variance / 2).exp() * noise


def l1(made: Tensor, given: Tensor) -> Tensor:
    """The sum of absolute differences of each row, averaged over rows (B, I). Returns a scalar."""
    return (made - given).abs().sum(dim=1).mean()


def weighted_l1(made: Tensor, given: Tensor) -> Tensor:
    """sum_i |d_i|^3 / ||d||_2 of d = made - given in each row, averaged over rows (B, I). Returns a
    scalar.

    The authors' program of TF-VAEGAN calls it a weighted L1 error: the weight of |d_i| is d_i^2 /
    ||d||_2.
    """
    d = made - given
    length = d.norm(dim=1).clamp_min(
        torch.finfo(d.dtype).tiny
    )  # a row without any error costs nothing
    rows: Tensor = d.abs().pow(3).sum(dim=1) / length
    return rows.mean()


def divergence(posterior: Posterior) -> Tensor:
    """KL(N(mu, diag sigma^2) || N(0, I)) = 1/2 sum (mu^2 + sigma^2 - 1 - log sigma^2), averaged
    over rows. Returns a scalar."""
    mu, log_variance = posterior
    return (mu.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2


def wasserstein(one: Posterior, other: Posterior) -> Tensor:
    """The 2-Wasserstein distance, averaged over rows. Returns a scalar.

    Of diagonal normal distributions it is (||mu - mu'||^2 + ||sigma - sigma'||^2)^(1/2).
    """
    apart = torch.cat([one[0] - other[0], (one[1] / 2).exp() - (other[1] / 2).exp()], dim=1)
    distance: Tensor = apart.norm(dim=1)
    return distance.mean()
