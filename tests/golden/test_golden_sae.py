"""SAE against the public port and the authors' two demos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import FLOAT32, Case, close, fill, fitted, task_of
from zslkit_baselines.sae import SAE, SAEConfig

DIRECTIONS = {"F2S": "to_semantics", "S2F": "to_features"}
ILL_CONDITIONED = 1e-6
"""The demo's equation loses as many digits."""


def model(case: Case, dtype: torch.dtype = torch.float64, **settings: Any) -> SAE:
    made = SAE(SAEConfig(gamma=0, centre=False, normalise="l2", **settings), task_of(case)).to(
        dtype
    )
    fill(made, {"attributes": case["in/att"]})
    return fitted(made, case, dtype)


@pytest.mark.parametrize("direction", list(DIRECTIONS))
def test_the_port(case: Case, direction: str) -> None:
    unseen, x = case["in/unseen"], case.tensor("in/test_features")
    for weight in case["in/lambda_port"]:
        made = model(case, lam=float(weight), direction=DIRECTIONS[direction])
        answers = case.below(f"eval/port/lambda{weight:g}")
        close(made.W, case[f"train/port/lambda{weight:g}/W_rows_normalised"])
        scores = made.scores(x)
        close(scores, answers[f"class_scores_{direction}"])
        assert (scores.argmax(1).numpy() == answers[f"prediction_gzsl_{direction}"]).all()
        assert (
            unseen[scores[:, unseen].argmax(1).numpy()] == answers[f"prediction_zsl_{direction}"]
        ).all()


@pytest.mark.parametrize("direction", list(DIRECTIONS))
def test_the_demo_for_awa(case: Case, direction: str) -> None:
    made = model(
        case,
        recipe="awa_demo",
        lam=case.number("in/lambda_awa_demo"),
        direction=DIRECTIONS[direction],
    )
    theirs = case["train/awa_demo/W"]
    close(made.W, theirs / np.linalg.norm(theirs, axis=1, keepdims=True), ILL_CONDITIONED)
    x = case.tensor("in/test_features")[case["eval/demo_test_rows"]]
    made.attributes = made.attributes[case["in/unseen"]]  # the demo knows unseen classes alone
    close(made.scores(x), case[f"eval/awa_demo/unseen_scores_{direction}"], ILL_CONDITIONED)


def test_the_demo_for_cub_up_to_what_it_standardises_over_test_images(case: Case) -> None:
    settings = {
        "recipe": "cub_demo",
        "lam": case.number("in/lambda_cub_demo"),
        "ridge": case.number("in/ridge_cub_demo"),
    }
    made = model(case, **settings)
    close(made.W.T, case["train/cub_demo/W"])
    x = case.tensor("in/test_features")[case["eval/demo_test_rows"]]
    close(x @ made.P, case["eval/cub_demo/test_features_reduced"])
    unseen = case["in/unseen"]
    cosine = made.scores(x)[:, unseen]
    close(cosine, case["eval/cub_demo/unseen_cosine_F2S"])

    def standardised(table: torch.Tensor) -> torch.Tensor:
        return (table - table.mean(dim=0)) / table.std(dim=0)

    close(standardised(cosine), case["eval/cub_demo/unseen_scores_F2S"])
    other = model(case, direction="to_features", **settings).scores(x)[:, unseen]
    close(standardised(1 - standardised(1 - other)), case["eval/cub_demo/unseen_scores_S2F"])


def test_float32(case: Case) -> None:
    weight = float(case["in/lambda_port"][0])
    made = model(case, torch.float32, lam=weight)
    close(
        made.scores(case.tensor("in/test_features", torch.float32)),
        case[f"eval/port/lambda{weight:g}/class_scores_F2S"],
        FLOAT32,
    )
