from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_toys import View, task
from torch import Tensor
from zslkit_baselines.eszsl import ESZSL, ESZSLConfig, solve, statistics

from zslkit.errors import TrainingError
from zslkit.model import check_model


class Trainer:
    seed, device = 0, torch.device("cpu")

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []

    def train(self, model: object, view: object) -> None:
        raise AssertionError("a closed form needs no loop")

    def log(self, **values: float) -> None:
        self.logged.append(values)


def test_it_keeps_the_contract() -> None:
    assert check_model("eszsl", ESZSL) is ESZSL
    assert set(ESZSL.search) <= set(ESZSLConfig.model_fields)


def test_one_feature_one_attribute_by_hand() -> None:
    # X = (1, 2), classes (0, 1) with attributes 1 and 0: X X^T = 5, S S^T = 1; with g = 5 and l = 1
    # W = X Y S^T / 10 / 2,
    # where X Y S^T = 1 * 1 + 2 * 0 = 1 as released, and 1 * 1 + 2 * -1 = -1 as in the paper.
    for targets, expected in (("released", 0.05), ("signs", -0.05)):
        config = ESZSLConfig(gamma=5, lam=1, targets=targets)
        model = ESZSL(config, task(np.array([[1.0], [0.0], [3.0]]), [True, True, False], width=1))
        model.fit(View(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1])), Trainer())
        assert model.W.item() == pytest.approx(expected)
        assert model.scores(torch.tensor([[2.0]])).tolist()[0] == pytest.approx(
            [2 * expected, 0.0, 6 * expected]
        )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 12),
    width=st.integers(1, 6),
    attributes=st.integers(1, 6),
    n_seen=st.integers(1, 4),
    gamma=st.sampled_from([1e-2, 1.0, 1e2]),
    lam=st.sampled_from([1e-2, 1.0, 1e2]),
    targets=st.sampled_from(["released", "signs"]),
)
def test_the_solution_is_that_of_the_dense_formula(
    seed: int,
    n: int,
    width: int,
    attributes: int,
    n_seen: int,
    gamma: float,
    lam: float,
    targets: str,
) -> None:
    rng = np.random.default_rng(seed)
    X, S = rng.normal(size=(width, n)), rng.normal(size=(attributes, n_seen))
    column = rng.integers(n_seen, size=n)
    Y = np.full((n, n_seen), -1.0 if targets == "signs" else 0.0)
    Y[np.arange(n), column] = 1
    left, right = X @ X.T + gamma * np.eye(width), S @ S.T + lam * np.eye(attributes)
    expected = np.linalg.inv(left) @ X @ Y @ S.T @ np.linalg.inv(right)
    gram, targets = statistics(torch.from_numpy(X.T), torch.from_numpy(column), n_seen, targets)
    found = solve(gram, targets, torch.from_numpy(S.T), gamma, lam)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=1e-9)


def test_attributes_of_unseen_classes_do_not_enter_training() -> None:
    rng = np.random.default_rng(0)
    table = rng.random((4, 3))
    view = View(torch.from_numpy(rng.random((10, 5))).float(), torch.tensor([0, 2] * 5))
    seen = [True, False, True, False]
    changed = table.copy()
    changed[[1, 3]] = 7
    weights = []
    for attributes in (table, changed):
        model = ESZSL(ESZSLConfig(), task(attributes, seen, width=5))
        model.fit(view, Trainer())
        weights.append(model.W.clone())
    assert torch.equal(*weights)


@pytest.mark.parametrize("key", ["gamma", "lam"])
def test_a_singular_system_names_its_regulariser(key: str) -> None:
    rng = np.random.default_rng(0)
    # 3 images in 5 dimensions, 2 classes with 4 attributes: both systems lack rank.
    model = ESZSL(ESZSLConfig(**{key: 0.0}), task(rng.random((3, 4)), [True, True, False], width=5))
    with pytest.raises(TrainingError, match=f"{key} = 0; set {key} to a larger value"):
        model.fit(
            View(torch.from_numpy(rng.random((3, 5))).float(), torch.tensor([0, 1, 1])), Trainer()
        )


def test_features_that_are_not_finite_are_refused() -> None:
    model = ESZSL(ESZSLConfig(), task(np.eye(2), [True, True], width=2))
    with pytest.raises(TrainingError, match="finite"):
        model.fit(
            View(torch.tensor([[1.0, float("nan")], [1.0, 2.0]]), torch.tensor([0, 1])), Trainer()
        )


def test_normalised_features_have_no_length() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((10, 5))).float()
    label = torch.tensor([0, 1] * 5)
    weights = []
    for scale in (1.0, 100.0):
        model = ESZSL(
            ESZSLConfig(normalise="l2"),
            task(rng.random((3, 4)) * 0 + np.eye(3, 4), [True, True, False], width=5),
        )
        model.fit(View(scale * x, label), Trainer())
        weights.append(model.W.clone())
        assert torch.allclose(model.scores(x), model.scores(scale * x), atol=1e-6)
    assert torch.allclose(*weights, atol=1e-6)


def test_it_recognises_classes_it_has_never_seen() -> None:
    rng = np.random.default_rng(0)
    table = np.array(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=float
    )
    look = rng.normal(size=(3, 8))
    unseen, trained = np.repeat([3, 5], 20), np.repeat([0, 1, 2, 4], 20)

    def images(label: np.ndarray) -> Tensor:
        return torch.from_numpy(
            table[label] @ look + 0.1 * rng.normal(size=(len(label), 8))
        ).float()

    model = ESZSL(
        ESZSLConfig(gamma=0.1, lam=0.1),
        task(table, [True, True, True, False, True, False], width=8),
    )
    trainer = Trainer()
    model.fit(View(images(trained), torch.from_numpy(trained)), trainer)
    scores = model.scores(images(unseen))
    chosen = np.array([3, 5])[scores[:, [3, 5]].argmax(1).numpy()]
    assert (chosen == unseen).mean() > 0.9
    assert trainer.logged[0]["gamma"] == pytest.approx(0.1)
    fresh = ESZSL(ESZSLConfig(), model.task)
    fresh.load_state_dict(model.state_dict())
    x = images(unseen)
    assert torch.equal(fresh.scores(x), model.scores(x))
