from __future__ import annotations

import pytest
import torch
from linear_toys import View, noise
from zslkit_baselines.pooled import PooledConfig, Scaling, class_means, column_of, regularised

from zslkit.errors import TrainingError

CPU = torch.device("cpu")


def measured(view: View, **settings: object) -> Scaling:
    scaling = Scaling(PooledConfig(**settings), view.x.shape[1])
    scaling.measure(view, "it", CPU)
    return scaling


def test_statistics_are_those_of_the_training_images() -> None:
    x = 3 * noise(0, 20, 4) + 5
    scaled = measured(
        View(x, torch.zeros(20, dtype=torch.int64)), centre=True, normalise="standard"
    )(x)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(scaled.std(dim=0, correction=0), torch.ones(4))


def test_without_centring_and_normalising_features_are_as_given() -> None:
    x = noise(0, 5, 4)
    assert torch.equal(
        measured(View(x, torch.zeros(5, dtype=torch.int64)), centre=False, normalise="none")(x), x
    )


def test_l2_leaves_no_length_after_the_mean_is_gone() -> None:
    x = noise(0, 5, 4) + 9
    scaled = measured(View(x, torch.zeros(5, dtype=torch.int64)), centre=True, normalise="l2")(x)
    torch.testing.assert_close(scaled, torch.nn.functional.normalize(x - x.mean(0), dim=1))


def test_a_channel_that_never_changes_stays_finite() -> None:
    x = torch.ones(5, 1)
    assert (
        measured(View(x, torch.zeros(5, dtype=torch.int64)), centre=True, normalise="standard")(
            x
        ).tolist()
        == [[0.0]] * 5
    )


def test_columns_number_the_seen_classes() -> None:
    assert column_of(torch.tensor([False, True, False, True])).tolist() == [-1, 0, -1, 1]


def test_class_means_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    assert class_means(x, torch.tensor([1, 1, 0]), 2).tolist() == [[5.0, 5.0], [2.0, 1.0]]


def test_a_factor_is_that_of_the_regularised_matrix() -> None:
    a = noise(0, 6, 4).double()
    factor = regularised(a.T @ a, 0.5, "it", "lam", "features")
    torch.testing.assert_close(factor @ factor.T, a.T @ a + 0.5 * torch.eye(4, dtype=torch.float64))


def test_a_singular_system_is_refused_by_model_setting_and_matter() -> None:
    a = noise(0, 2, 4).double()
    with pytest.raises(
        TrainingError,
        match=r"^it: the system of the things is singular with lam = 0; set lam to a larger value",
    ):
        regularised(a.T @ a, 0.0, "it", "lam", "things")
