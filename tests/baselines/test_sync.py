from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from linear_toys import noise, random_view, task, trained
from scipy.optimize import minimize
from zslkit_baselines.convex import minimise
from zslkit_baselines.sync import (
    SYNC,
    SYNCConfig,
    combination,
    least_squares,
    signatures,
    similarity,
    squared_hinge,
)

from zslkit.errors import TrainingError


def test_similarities_are_those_of_a_plain_loop() -> None:
    a = noise(0, 4, 3)
    units = [row / row.norm() for row in a.double()]
    pairs = sorted(float((units[i] - units[j]).norm()) for i in range(4) for j in range(i))
    median = (pairs[2] + pairs[3]) / 2
    p = signatures(a)
    S = similarity(p, p[:3], 0.7)
    for k in range(4):
        e = [
            math.exp(-0.7 * float((units[k] - units[r]).square().sum()) / median**2)
            for r in range(3)
        ]
        assert S[k].tolist() == pytest.approx([value / sum(e) for value in e], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_is_a_dense_solve_over_the_phantoms(seed: int) -> None:
    n, width, n_seen, decay = 10, 4, 3, 0.3
    x, a = noise(seed, n, width).double(), noise(seed + 100, 5, 2)
    column = torch.arange(n) % n_seen
    y = (2 * torch.nn.functional.one_hot(column, n_seen) - 1).double().numpy()
    p, seen = signatures(a), torch.arange(5) < n_seen
    S = similarity(p[:n_seen], p[:n_seen], 1.0).numpy()
    # The objective in V alone, ||X V^T S^T - Y||^2 / (N C_s) + decay/2 ||S V||^2, with vec(V) by
    # rows:
    # (S^T S kron (X^T X / N + C_s decay / 2 I)) vec(V) = vec(S^T Y^T X / N).
    system = np.kron(S.T @ S, x.numpy().T @ x.numpy() / n + n_seen * decay / 2 * np.eye(width))
    V = np.linalg.solve(system, (S.T @ y.T @ x.numpy() / n).flatten()).reshape(n_seen, width)
    expected = similarity(p, p[:n_seen], 1.0).numpy() @ V
    found = combination(a, seen, 1.0) @ least_squares(x, column, n_seen, decay)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_squared_hinge_ends_where_a_general_minimiser_does() -> None:
    n, width, n_seen, decay = 12, 3, 3, 0.1
    x, column = noise(0, n, width).double(), torch.arange(n) % n_seen
    y = (2 * torch.nn.functional.one_hot(column, n_seen) - 1).numpy()

    def objective(flat: np.ndarray) -> float:
        W = flat.reshape(n_seen, width)
        return float(
            np.maximum(0, 1 - y * (x.numpy() @ W.T)).__pow__(2).mean() + decay / 2 * (W**2).sum()
        )

    expected = minimize(objective, np.zeros(n_seen * width), tol=1e-12).x.reshape(n_seen, width)
    W, _, _ = minimise(x, n_seen, decay, lambda z: squared_hinge(z, column), "it", offset=False)
    np.testing.assert_allclose(W.T.numpy(), expected, atol=1e-4)


def test_seen_classes_keep_the_classifiers_they_were_trained_with() -> None:
    a = noise(0, 5, 3)
    seen = torch.tensor([False, True, False, True, True])
    np.testing.assert_allclose(combination(a, seen, 0.8)[seen].numpy(), np.eye(3), atol=1e-9)


def test_scores_are_products_with_the_combined_classifiers_and_their_offsets() -> None:
    view, table = random_view(0, 12, 4, [0, 2]), np.abs(noise(1, 3, 3).numpy())
    model = trained(
        SYNC,
        SYNCConfig(base="squared", offset=True, normalise="none"),
        task(table, [True, False, True], 4),
        view,
    )
    w = combination(model.attributes, model.seen, 1.0).float() @ model.W
    torch.testing.assert_close(
        model.scores(view.x), view.x @ w[:, :-1].T + w[:, -1], rtol=1e-4, atol=1e-5
    )


def test_seen_classes_with_the_same_attributes_share_what_they_give() -> None:
    table = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    given = combination(table, torch.ones(3, dtype=torch.bool), 1.0)
    torch.testing.assert_close(given[0], torch.tensor([0.5, 0.5, 0.0]).double(), atol=1e-9, rtol=0)


def test_a_base_without_decay_names_it() -> None:
    given = task(np.eye(3), [True, True, False], 6)
    with pytest.raises(
        TrainingError,
        match=r"^sync: the system of the features is singular with decay = 0; set decay",
    ):
        trained(SYNC, SYNCConfig(base="squared", decay=0), given, random_view(0, 4, 6, [0, 1]))
