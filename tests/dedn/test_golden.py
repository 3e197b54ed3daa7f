"""The worked case of DEDN in numbers: outputs, every loss term and the gradient of every
parameter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zslkit_dedn import official
from zslkit_dedn.groups import PAPER
from zslkit_dedn.model import DEDN

TERMS = {
    "cexp_mal": "cexp_mal",
    "fexp_mal": "fexp_mal",
    "cexp_calibration": "cexp_calibration",
    "fexp_calibration": "fexp_calibration",
    "cexp_alignment": "cexp_region_channel_distance",
    "fexp_alignment": "fexp_region_channel_distance",
    "expert_distillation": "expert_distillation",
    "total": "total",
}
ORDER = [i for cluster in PAPER["cub"] for i in cluster]


@pytest.fixture(scope="module")
def case(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / "dedn_cub.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture()
def model(case: dict[str, np.ndarray]) -> DEDN:
    state = {
        k.removeprefix("state/"): torch.from_numpy(np.asarray(v))
        for k, v in case.items()
        if k.startswith("state/")
    }
    return official.load_state_dict(state, dataset="cub", c_mix=0.8, e_mix=0.9, lambda_cal=0.18)


def close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    difference = np.abs(ours.detach().numpy() - theirs).max()
    assert difference <= 1e-5 * np.abs(theirs).max()


def test_attribute_and_class_scores_in_training(model: DEDN, case: dict[str, np.ndarray]) -> None:
    x = torch.from_numpy(case["in/feature_map"])
    for name, s in model.attribute_scores(x).items():
        close((s.region + s.channel)[:, ORDER], case[f"train/{name}_attr"])
        close(model.class_scores(s.region + s.channel), case[f"train/{name}_scores"])


def test_scores_at_inference(model: DEDN, case: dict[str, np.ndarray]) -> None:
    x = torch.from_numpy(case["in/feature_map"])
    with torch.no_grad():
        coarse, fine = model.eval().expert_scores(x).values()
        close(coarse, case["eval/cexp_scores"])
        close(fine, case["eval/fexp_scores"])
        close(model.scores(x), case["eval/final_scores_e_mix_0.9"])


@pytest.mark.parametrize("ours", TERMS)
def test_every_loss_term(model: DEDN, case: dict[str, np.ndarray], ours: str) -> None:
    terms = model.loss(torch.from_numpy(case["in/feature_map"]), torch.from_numpy(case["in/label"]))
    close(terms[ours], case[f"train/{TERMS[ours]}"])


def test_gradient_of_every_parameter(model: DEDN, case: dict[str, np.ndarray]) -> None:
    model.loss(torch.from_numpy(case["in/feature_map"]), torch.from_numpy(case["in/label"]))[
        "total"
    ].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(g is not None for g in gradients.values())
    # the weights are put in place of the gradients, so that the names of both sides are matched by
    # one piece of code
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(gradients[name])  # type: ignore[arg-type]
    named = official.state_dict(model)
    checked = [k for k in case if k.startswith("grad/")]
    assert len(checked) == 7 * 5
    for key in checked:
        close(named[key.removeprefix("grad/")], case[key])


def test_round_trip_of_the_authors_names(model: DEDN, case: dict[str, np.ndarray]) -> None:
    again = official.state_dict(model)
    for key, value in again.items():
        if key != "weight_ce":
            np.testing.assert_allclose(value.numpy(), case[f"state/{key}"], rtol=0, atol=1e-7)
