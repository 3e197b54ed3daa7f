from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_toys import noise
from torch.nn import functional as F
from zslkit_baselines.convex import minimise

from zslkit.errors import TrainingError


def test_a_quadratic_loss_ends_at_its_normal_equations() -> None:
    x, y = noise(0, 30, 4).double(), noise(1, 30, 2).double()
    W, b, left = minimise(x, 2, 0.2, lambda z: (z - y).square().sum() / (2 * len(z)), "it")
    assert left < 1e-5
    torch.testing.assert_close(
        x.T @ (x @ W + b - y) / 30 + 0.2 * W,
        torch.zeros(4, 2, dtype=torch.float64),
        rtol=0,
        atol=1e-5,
    )
    torch.testing.assert_close(
        (x @ W + b - y).sum(dim=0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-4
    )


def test_without_an_offset_b_stays_zero() -> None:
    _, b, _ = minimise(
        noise(0, 30, 4), 2, 0.2, lambda z: (z - 1).square().mean(), "it", offset=False
    )
    assert b.tolist() == [0.0, 0.0]


def test_logistic_regression_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    x = noise(0, 60, 4).double()
    y = (x[:, 0] + 0.5 * noise(1, 60).double() > 0).double()
    W, b, _ = minimise(x, 1, 0.1, lambda z: F.binary_cross_entropy_with_logits(z[:, 0], y), "it")
    theirs = LogisticRegression(C=1 / (0.1 * 60), tol=1e-8, max_iter=1000).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(W.numpy().T, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(b.numpy(), theirs.intercept_, atol=1e-4)


def test_a_loss_that_is_not_finite_names_the_model() -> None:
    with pytest.raises(TrainingError, match=r"^it: the loss is nan"):
        minimise(noise(0, 3, 2), 1, 0.1, lambda z: z.sum() * float("nan"), "it")


def test_it_trains_where_gradients_are_off() -> None:
    with torch.no_grad():
        W, _, _ = minimise(
            noise(0, 30, 4), 2, 0.2, lambda z: (z - 1).square().mean(), "it", offset=False
        )
    assert float(W.abs().max()) > 0
