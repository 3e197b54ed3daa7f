from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from linear_toys import random_view, task, trained
from zslkit_baselines.dap import DAP, DAPConfig

from zslkit.errors import TrainingError

#                  told   told   all   none
TABLE = np.array(
    [[0.9, 0.1, 0.8, 0.1], [0.1, 0.9, 0.9, 0.1], [0.1, 0.7, 0.9, 0.1], [0.9, 0.9, 0.1, 0.9]]
)
SEEN = [True, True, True, False]


def test_scores_are_those_of_a_plain_loop() -> None:
    view = random_view(0, 12, 5, [0, 1, 2])
    model = trained(
        DAP, DAPConfig(decay=0.1, centre=False, normalise="none"), task(TABLE, SEEN, 5), view
    )
    scores = model.scores(view.x)
    # The mean of the seen table is 0.5; the third attribute is there in all seen classes and the
    # fourth in none.
    binary, prior = (TABLE > 0.5)[:, :2], [1 / 3, 2 / 3]
    for i, x in enumerate(view.x):
        told = [1 / (1 + math.exp(-z)) for z in (x @ model.W + model.b).tolist()]
        for k in range(4):
            product = 1.0
            for p, b, share in zip(told, binary[k], prior, strict=True):
                product *= p / share if b else (1 - p) / (1 - share)
            assert float(scores[i, k]) == pytest.approx(math.log(product), abs=1e-4)


def test_each_regression_is_at_its_minimum() -> None:
    view = random_view(0, 12, 5, [0, 1, 2])
    model = trained(
        DAP, DAPConfig(decay=0.1, centre=False, normalise="none"), task(TABLE, SEEN, 5), view
    )
    p = torch.sigmoid(view.x @ model.W + model.b)
    there = torch.from_numpy((TABLE > 0.5)[view.labels, :2]).float()
    torch.testing.assert_close(
        view.x.T @ (p - there) / 12 + 0.1 * model.W, torch.zeros(5, 2), rtol=0, atol=1e-4
    )


def test_the_threshold_is_the_tables_mean_or_the_attributes_own() -> None:
    table = np.array([[0.9, 0.2], [0.8, 0.1], [0.0, 0.0]])
    seen = [True, True, False]
    # The seen table's mean is 0.5, which no attribute crosses; the attributes' own means are 0.85
    # and 0.15.
    assert DAP(DAPConfig(threshold="attribute"), task(table, seen, 5)).binary.tolist() == [
        [1, 1],
        [0, 0],
        [0, 0],
    ]
    assert DAP(DAPConfig(threshold="table"), task(table, seen, 5)).binary.shape == (3, 0)


def test_a_table_that_tells_no_classes_apart_names_the_threshold() -> None:
    given = task(np.array([[0.9, 0.2], [0.8, 0.1], [0.0, 0.0]]), [True, True, False], 5)
    with pytest.raises(
        TrainingError,
        match=r"^dap: no attribute .* threshold = table; set threshold to the other choice",
    ):
        trained(DAP, DAPConfig(), given, random_view(0, 6, 5, [0, 1]))
