from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from linear_toys import noise, random_view, task, trained
from zslkit_baselines.conse import CONSE, CONSEConfig, combination

SEEN = [True, False, True, True]


@pytest.mark.parametrize("top", [1, 2, 3, 50])
def test_scores_are_those_of_a_plain_loop(top: int) -> None:
    table = np.abs(noise(1, 4, 3).numpy())
    view = random_view(0, 12, 5, [0, 2, 3])
    model = trained(
        CONSE,
        CONSEConfig(top=top, decay=0.1, centre=False, normalise="none"),
        task(table, SEEN, 5),
        view,
    )
    scores = model.scores(view.x)
    known = [k for k, seen in enumerate(SEEN) if seen]
    for i, x in enumerate(view.x):
        z = (x @ model.W + model.b).tolist()
        p = {k: math.exp(v) / sum(map(math.exp, z)) for k, v in zip(known, z, strict=True)}
        best = sorted(p, key=lambda k: -p[k])[:top]
        f = sum(p[k] * table[k] for k in best) / sum(p[k] for k in best)
        expected = [f @ a / np.linalg.norm(f) / np.linalg.norm(a) for a in table]
        assert scores[i].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_likeliest_class_alone_is_its_attributes() -> None:
    p, attributes = torch.tensor([[0.2, 0.7, 0.1]]), noise(0, 3, 4)
    torch.testing.assert_close(combination(p, attributes, 1), attributes[1:2])


def test_the_regression_is_at_its_minimum() -> None:
    view = random_view(0, 12, 5, [0, 2, 3])
    model = trained(
        CONSE,
        CONSEConfig(decay=0.1, centre=False, normalise="none"),
        task(np.eye(4), SEEN, 5),
        view,
    )
    p = (view.x @ model.W + model.b).softmax(dim=1)
    y = torch.nn.functional.one_hot(torch.tensor([0, 1, 2] * 4), 3)
    torch.testing.assert_close(
        view.x.T @ (p - y) / 12 + 0.1 * model.W, torch.zeros(5, 3), rtol=0, atol=1e-4
    )
