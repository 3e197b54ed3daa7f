from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_toys import View, noise, random_view, task, trained
from zslkit_baselines.ridge import Ridge, RidgeConfig, regression

from zslkit.errors import TrainingError


def test_the_regression_solves_the_normal_equations() -> None:
    A, M = noise(0, 6, 3).double(), noise(1, 6, 5).double()
    B = regression(A, M, 0.3)
    torch.testing.assert_close(
        A.T @ (A @ B - M) + 0.3 * B, torch.zeros(3, 5, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_one_feature_one_attribute_by_hand() -> None:
    # Means 1 and 3 at attributes 0 and 1. Centred, A = (-0.5, 0.5) and M = (-1, 1): A^T A = 0.5,
    # A^T M = 1, so B = 1 / (0.5 + 0.5).
    view = View(torch.tensor([[0.0], [2.0], [3.0]]), torch.tensor([0, 0, 1]))
    model = trained(
        Ridge,
        RidgeConfig(lam=0.5, centre=False, normalise="none"),
        task(np.array([[0.0], [1.0], [2.0]]), [True, True, False], 1),
        view,
    )
    # The unseen class lies at 2 + 1 * (2 - 0.5) = 3.5. Scores are those of -(x - m)^2 with x^2
    # added: 2 x m - m^2 at x = 2.
    assert model.scores(torch.tensor([[2.0]])).tolist()[0] == pytest.approx([3.0, 3.0, 1.75])


def test_scores_rank_classes_as_the_distance_to_their_means_does() -> None:
    view = random_view(0, 12, 4, [0, 1, 2])
    model = trained(
        Ridge,
        RidgeConfig(lam=0.1, centre=False, normalise="none"),
        task(noise(1, 5, 3).numpy(), [True] * 3 + [False] * 2, 4),
        view,
    )
    m = [view.x[torch.from_numpy(view.labels) == k].mean(dim=0) for k in range(3)]
    a = model.attributes[:3].mean(dim=0)
    m += [torch.stack(m).mean(dim=0) + model.B.T @ (model.attributes[k] - a) for k in (3, 4)]
    for x, score in zip(view.x, model.scores(view.x), strict=True):
        distance = torch.stack([(x - mean).square().sum() for mean in m])
        torch.testing.assert_close(score - score[0], distance[0] - distance, rtol=1e-4, atol=1e-4)


def test_a_singular_regression_names_lam() -> None:
    with pytest.raises(
        TrainingError,
        match=r"^ridge: the system of the attributes is singular with lam = 0; set lam",
    ):
        trained(
            Ridge,
            RidgeConfig(lam=0),
            task(noise(0, 3, 4).numpy(), [True, True, False], 5),
            random_view(1, 4, 5, [0, 1]),
        )
