"""DAZLE against the authors' program: scores, loss terms and gradients, with the switches of each
dataset."""

from __future__ import annotations

import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of, unit_rows
from zslkit_baselines.dazle import DAZLE, DAZLEConfig

from zslkit.functional import unit_regions

NAMES = {"V": "V", "W1": "W_1", "W2": "W_2", "W3": "W_3"}
SWITCHES = {"cub": {}, "sun": {"attribute_attention": False}, "awa2": {"normalise_V": True}}


@pytest.mark.parametrize("dataset", list(SWITCHES))
@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]
)
def test_scores_losses_and_gradients(
    case: Case, dataset: str, dtype: torch.dtype, relative: float
) -> None:
    made = DAZLE(DAZLEConfig(lambda_cal=0.1, **SWITCHES[dataset]), task_of(case)).to(dtype)
    names = {ours: theirs for ours, theirs in NAMES.items() if ours != "W3" or made.W3 is not None}
    fill(made, {ours: case[f"state/{theirs}"] for ours, theirs in names.items()})
    fill(made, {"attributes": unit_rows(case["in/att"])})
    x = case.tensor("in/feature_map", dtype)
    answers = case.below(f"eval/{dataset}")
    s, attention = made.attribute_scores(unit_regions(x))
    gate = answers["attr_attention"] if made.W3 is not None else 1.0
    close(s, gate * answers["attr_scores"], relative)
    close(attention, answers["attention"], relative)
    close(made.scores(x), answers["class_scores"], relative)
    terms = made.loss(x, case.tensor("in/label"))
    train = case.below(f"train/{dataset}")
    close(terms["cross_entropy"], train["loss_CE"], relative)
    close(terms["calibration"], 0.1 * train["loss_cal"], relative)
    total = sum(terms.values())
    close(total, train["total"], relative)
    total.backward()
    for ours, theirs in names.items():
        close(made.get_parameter(ours).grad, case[f"grad/{dataset}/{theirs}"], relative)
