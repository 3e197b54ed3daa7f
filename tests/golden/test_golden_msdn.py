"""MSDN against the authors' program: both branches, every loss term and gradient, with the settings
of each dataset."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of, unit_rows
from zslkit_baselines.msdn import MSDN, MSDNConfig

NAMES = {"V": "V", "W1": "W_1", "W2": "W_2", "W3": "W_2_1"}


def model(case: Case, dataset: str, dtype: torch.dtype) -> MSDN:
    settings: dict[str, Any] = {
        "lambda_cal": case.number(f"in/{dataset}/lambda_cal"),
        "lambda_distill": case.number(f"in/{dataset}/lambda_distil"),
        "mix": float(case[f"in/{dataset}/mix"][0]),
        "normalise_V": bool(case[f"in/{dataset}/normalize_V"]),
        "bias": case.number("in/bias"),
    }
    made = MSDN(MSDNConfig(**settings), task_of(case)).to(dtype)
    fill(made, {ours: case[f"state/{theirs}"] for ours, theirs in NAMES.items()})
    fill(made, {"W4": case["state/W_1_1"].T, "attributes": unit_rows(case["in/att"])})
    return made


@pytest.mark.parametrize("dataset", ["cub", "sun", "awa2"])
@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]
)
def test_scores_losses_and_gradients(
    case: Case, dataset: str, dtype: torch.dtype, relative: float
) -> None:
    made, x = model(case, dataset, dtype), case.tensor("in/feature_map", dtype)
    parts = made.attention(x)
    for part, name in (("attribute to visual", "a2v"), ("visual to attribute", "v2a")):
        scores = parts[part].scores
        assert scores is not None
        close(scores, case[f"eval/{dataset}/{name}_attr_scores"], relative)
        close(made.class_scores(scores), case[f"eval/{dataset}/{name}_class_scores"], relative)
    close(made.scores(x), case[f"eval/{dataset}/mixed_class_scores"], relative)
    terms = made.loss(x, case.tensor("in/label"))
    train = case.below(f"train/{dataset}")
    close(terms["cross_entropy_visual"], train["a2v_loss_CE"], relative)
    close(terms["cross_entropy_attribute"], train["v2a_loss_CE"], relative)
    weight = made.config.lambda_cal
    close(terms["calibration"], weight * (train["a2v_loss_cal"] + train["v2a_loss_cal"]), relative)
    close(terms["distillation"], made.config.lambda_distill * train["distil"], relative)
    total = sum(terms.values())
    close(total, train["total"], relative)
    total.backward()
    for ours, theirs in NAMES.items():
        close(made.get_parameter(ours).grad, case[f"grad/{dataset}/{theirs}"], relative)
    close(made.W4.grad.T, case[f"grad/{dataset}/W_1_1"], relative)


def test_the_start_is_the_programs(case: Case) -> None:
    torch.manual_seed(0)
    made = MSDN(MSDNConfig(), task_of(case))
    assert not any(made.get_parameter(n).any() for n in ("W2", "W3", "W4")) and made.W1.std() > 0.5
    close(made.V, unit_rows(case["in/w2v"]), FLOAT32)
