from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from linear_toys import noise, random_view, task, trained
from scipy.optimize import minimize

from baselines.sync import SYNC, SYNCConfig, combination, least_squares, similarity, squared_hinge
from zslkit.errors import TrainingError


def test_similarities_are_those_of_a_plain_loop() -> None:
    a, b, sigma = noise(0, 4, 3), noise(1, 3, 3), 0.7
    S = similarity(a, b, sigma)
    pairs = [float((b[i] - b[j]).norm()) for i in range(3) for j in range(i)]
    d = sum(pairs) / len(pairs)
    for k in range(4):
        e = [math.exp(-float((a[k] - b[r]).square().sum()) / (sigma * d) ** 2) for r in range(3)]
        assert S[k].tolist() == pytest.approx([value / sum(e) for value in e], rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_is_a_dense_solve_over_the_phantoms(seed: int) -> None:
    n, width, n_seen, decay = 10, 4, 3, 0.3
    x, a = noise(seed, n, width).double(), noise(seed + 100, 5, 2)
    column = torch.arange(n) % n_seen
    y = (2 * torch.nn.functional.one_hot(column, n_seen) - 1).double().numpy()
    S = similarity(a[:n_seen], a[:n_seen], 1.0).numpy()
    # The objective in V alone, 1/2N ||X V^T S^T - Y||^2 + decay/2 ||S V||^2, with vec(V) by rows:
    # (S^T S kron (X^T X / N + decay I)) vec(V) = vec(S^T Y^T X / N).
    system = np.kron(S.T @ S, x.numpy().T @ x.numpy() / n + decay * np.eye(width))
    V = np.linalg.solve(system, (S.T @ y.T @ x.numpy() / n).flatten()).reshape(n_seen, width)
    expected = similarity(a, a[:n_seen], 1.0).numpy() @ V
    found = combination(a, a[:n_seen], 1.0) @ least_squares(x, column, n_seen, decay)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_squared_hinge_ends_where_a_general_minimiser_does() -> None:
    n, width, n_seen, decay = 12, 3, 3, 0.1
    x, column = noise(0, n, width).double(), torch.arange(n) % n_seen
    y = (2 * torch.nn.functional.one_hot(column, n_seen) - 1).numpy()

    def objective(flat: np.ndarray) -> float:
        W = flat.reshape(n_seen, width)
        return float(np.maximum(0, 1 - y * (x.numpy() @ W.T)).__pow__(2).sum() / (2 * n) + decay / 2 * (W**2).sum())

    expected = minimize(objective, np.zeros(n_seen * width), tol=1e-12).x.reshape(n_seen, width)
    W, _ = squared_hinge(x, column, n_seen, decay)
    np.testing.assert_allclose(W.numpy(), expected, atol=1e-4)


def test_seen_classes_keep_the_classifiers_they_were_trained_with() -> None:
    a = noise(0, 5, 3)
    np.testing.assert_allclose(combination(a, a[[1, 3, 4]], 0.8)[[1, 3, 4]].numpy(), np.eye(3), atol=1e-9)


def test_scores_are_products_with_the_combined_classifiers_and_their_offsets() -> None:
    view, table = random_view(0, 12, 4, [0, 2]), np.abs(noise(1, 3, 3).numpy())
    model = trained(SYNC, SYNCConfig(base="squared", centre=False, normalise="none"), task(table, [True, False, True], 4), view)
    w = combination(model.attributes, model.attributes[[0, 2]], 1.0).float() @ model.W
    torch.testing.assert_close(model.scores(view.x), view.x @ w[:, :-1].T + w[:, -1], rtol=1e-4, atol=1e-5)


def test_seen_classes_with_the_same_attributes_are_refused_by_sigma() -> None:
    given = task(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), [True, True, True], 4)
    model = trained(SYNC, SYNCConfig(base="squared"), given, random_view(0, 6, 4, [0, 1, 2]))
    with pytest.raises(TrainingError, match=r"^sync: the similarities of the seen classes are singular with sigma = 1; .* share"):
        model.scores(noise(0, 2, 4))


def test_a_base_without_decay_names_it() -> None:
    given = task(np.eye(3), [True, True, False], 6)
    with pytest.raises(TrainingError, match=r"^sync: the system of the features is singular with decay = 0; set decay"):
        trained(SYNC, SYNCConfig(base="squared", decay=0), given, random_view(0, 4, 6, [0, 1]))
