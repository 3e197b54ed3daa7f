from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_toys import noise, random_view, task, trained
from scipy.linalg import solve_sylvester
from zslkit_baselines.sae import SAE, SAEConfig, solve

from zslkit.errors import TrainingError


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 5),
    attributes=st.integers(1, 5),
    n=st.integers(5, 12),
    lam=st.sampled_from([1e-2, 1.0, 1e2]),
    gamma=st.sampled_from([0.0, 0.5]),
)
def test_the_solution_is_that_of_a_dense_system_and_of_scipy(
    seed: int, width: int, attributes: int, n: int, lam: float, gamma: float
) -> None:
    rng = np.random.default_rng(seed)
    X, S = rng.normal(size=(width, n)), rng.normal(size=(attributes, n))
    SS, XX, SX = S @ S.T, X @ X.T, S @ X.T
    right = lam * XX + gamma * np.eye(width)
    # With vec by columns, SS W + W R is (I kron SS + R^T kron I) vec(W).
    dense = np.kron(np.eye(width), SS) + np.kron(right.T, np.eye(attributes))
    expected = np.linalg.solve(dense, ((1 + lam) * SX).flatten(order="F")).reshape(
        attributes, width, order="F"
    )
    found = solve(*map(torch.from_numpy, (SS, XX, SX)), lam, gamma).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        found, solve_sylvester(SS, right, (1 + lam) * SX), rtol=1e-6, atol=1e-8
    )


def test_it_is_the_minimum_of_what_the_autoencoder_loses() -> None:
    view, table = random_view(0, 12, 4, [0, 1, 2]), np.abs(noise(1, 4, 3).numpy())
    model = trained(
        SAE,
        SAEConfig(lam=0.7, gamma=0, centre=False, normalise="none"),
        task(table, [True, True, True, False], 4),
        view,
    )
    X, S = view.x.double().T, torch.from_numpy(table).double()[torch.from_numpy(view.labels)].T
    W = solve(S @ S.T, X @ X.T, S @ X.T, 0.7).requires_grad_()
    ((X - W.T @ S).square().sum() + 0.7 * (W @ X - S).square().sum()).backward()
    assert float(W.grad.abs().max()) < 1e-4
    torch.testing.assert_close(
        model.W.double(), torch.nn.functional.normalize(W.detach(), dim=1), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("direction", ["to_semantics", "to_features"])
def test_a_class_scores_a_cosine_in_the_space_that_direction_says(direction: str) -> None:
    view, table = random_view(0, 12, 4, [0, 1, 2]), np.abs(noise(1, 4, 3).numpy())
    config = SAEConfig(direction=direction, centre=False, normalise="none")
    model = trained(SAE, config, task(table, [True, True, True, False], 4), view)
    x, W, a = view.x[0], model.W, torch.from_numpy(table[3])
    left, right = (W @ x, a) if direction == "to_semantics" else (x, W.T @ a)
    assert float(model.scores(view.x)[0, 3]) == pytest.approx(
        float(left @ right / left.norm() / right.norm()), abs=1e-5
    )


def test_a_singular_equation_names_the_setting_that_mends_it() -> None:
    # 3 images in 5 dimensions and 2 seen classes with 4 attributes: neither side has full rank.
    given, view = (
        task(np.abs(noise(0, 3, 4).numpy()), [True, True, False], 5),
        random_view(1, 3, 5, [0, 1]),
    )
    with pytest.raises(
        TrainingError,
        match=r"^sae: the Sylvester equation is singular with gamma = 0, .* set gamma to a larger "
        r"value",
    ):
        trained(SAE, SAEConfig(gamma=0), given, view)
    trained(SAE, SAEConfig(gamma=0.1), given, view)
