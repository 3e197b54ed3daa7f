from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_toys import noise
from scipy.linalg import sqrtm
from zslkit_baselines.vae import divergence, l1, sample, wasserstein, weighted_l1

ONE = noise(0, 4, 3).double(), noise(1, 4, 3).double()
OTHER = noise(2, 4, 3).double(), noise(3, 4, 3).double()


def test_the_divergence_is_the_integral_of_the_densities() -> None:
    grid = np.linspace(-12, 12, 200_001)
    total = 0.0
    for mu, log_variance in zip(ONE[0].flatten().tolist(), ONE[1].flatten().tolist(), strict=True):
        log_q = -0.5 * (np.log(2 * np.pi) + log_variance + (grid - mu) ** 2 / np.exp(log_variance))
        log_p = -0.5 * (np.log(2 * np.pi) + grid**2)
        total += float(np.trapezoid(np.exp(log_q) * (log_q - log_p), grid))
    assert float(divergence(ONE)) == pytest.approx(total / 4, rel=1e-6)


def test_the_divergence_of_a_standard_normal_distribution_is_zero() -> None:
    assert float(divergence((torch.zeros(5, 2), torch.zeros(5, 2)))) == 0


def test_the_distance_is_the_general_formula_with_matrix_roots() -> None:
    distances = []
    for mu, v, other_mu, other_v in zip(*ONE, *OTHER, strict=True):
        S, T = np.diag(np.exp(v.numpy())), np.diag(np.exp(other_v.numpy()))
        root = sqrtm(T)
        trace = np.trace(S + T - 2 * sqrtm(root @ S @ root))
        distances.append(np.sqrt(((mu - other_mu).numpy() ** 2).sum() + trace.real))
    assert float(wasserstein(ONE, OTHER)) == pytest.approx(np.mean(distances), rel=1e-9)


def test_the_distance_to_itself_is_zero_and_has_a_gradient() -> None:
    mu = torch.zeros(2, 3, requires_grad=True)
    distance = wasserstein((mu, torch.zeros(2, 3)), (torch.zeros(2, 3), torch.zeros(2, 3)))
    distance.backward()
    assert distance.item() == 0 and mu.grad is not None and bool(torch.isfinite(mu.grad).all())


def test_samples_have_the_mean_and_the_deviation_that_they_are_drawn_with() -> None:
    mu, log_variance = torch.tensor([[3.0, -1.0]]), torch.tensor([[0.0, 2.0]])
    z = sample(
        (mu.expand(100_000, 2), log_variance.expand(100_000, 2)),
        torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0)),
    )
    np.testing.assert_allclose(z.mean(0), mu[0], atol=0.03)
    np.testing.assert_allclose(z.std(0), np.exp([0.0, 1.0]), rtol=0.02)


def test_the_absolute_error_is_summed_over_a_row_and_averaged_over_rows() -> None:
    assert (
        float(l1(torch.tensor([[1.0, -2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [4.0, 1.0]])))
        == 4.0
    )


def test_the_weighted_absolute_error_weighs_each_by_its_square_over_the_rows_length() -> None:
    # Rows d = (3, -4) and (0, 2): (27 + 64) / 5 and 8 / 2.
    assert float(
        weighted_l1(torch.tensor([[3.0, -4.0], [0.0, 2.0]]), torch.zeros(2, 2))
    ) == pytest.approx((91 / 5 + 4) / 2)
    d = torch.zeros(1, 2, requires_grad=True)
    weighted_l1(d, torch.zeros(1, 2)).backward()
    assert d.grad is not None and not d.grad.any()
