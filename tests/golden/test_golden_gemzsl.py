"""GEM-ZSL against the authors' program: scores, attention, each loss term and gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of
from zslkit_baselines.gem import GEMZSL, GEMConfig


def model(case: Case, dtype: torch.dtype) -> GEMZSL:
    settings: dict[str, Any] = dict(
        zip(
            ("w_attribute", "w_decorrelation", "w_compactness"),
            case["in/lambda"].tolist(),
            strict=True,
        )
    )
    groups = {name: tuple(ids.tolist()) for name, ids in case.below("in/groups").items()}
    made = GEMZSL(
        GEMConfig(scale=case.number("in/scale"), **settings), task_of(case, groups=groups)
    ).to(dtype)
    fill(
        made,
        {
            "V": case["state/V"].T,
            "E": case["state/W"].T,
            "words": case["in/w2v"],
            "attributes": case["in/att"],
        },
    )
    return made


@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]
)
def test_scores_losses_and_gradients(case: Case, dtype: torch.dtype, relative: float) -> None:
    made, x = model(case, dtype), case.tensor("in/feature_map", dtype)
    close(made.words @ made.E.T, case["eval/query"], relative)
    maps = made.attention(x)["attributes"].maps
    close(maps, case["eval/attention"], relative)
    close(maps.flatten(2).amax(dim=2), case["eval/attr_scores"], relative)
    scores = made.scores(x)
    close(scores, case["eval/class_scores"], relative)
    order = torch.cat([torch.from_numpy(case["in/seen"]), torch.from_numpy(case["in/unseen"])])
    close(
        (scores - case.number("in/gamma_test") * made.seen.to(dtype))[:, order],
        case["eval/scores_calibrated"],
        relative,
    )
    terms, (attribute, decorrelation, compactness) = (
        made.loss(x, case.tensor("in/label")),
        case["in/lambda"],
    )
    close(terms["cross_entropy"], case["train/Cls_loss"], relative)
    close(terms["attribute"], attribute * case["train/Reg_loss"], relative)
    close(terms["decorrelation"], decorrelation * case["train/AD_loss"], relative)
    close(terms["compactness"], compactness * case["train/CPT_loss"], relative)
    total = sum(terms.values())
    close(total, case["train/total"], relative)
    total.backward()
    close(made.V.grad.T, case["grad/V"], relative)
    close(made.E.grad.T, case["grad/W"], relative)


def test_the_start_is_the_programs(case: Case) -> None:
    torch.manual_seed(0)
    made = GEMZSL(GEMConfig(), task_of(case))
    assert 0.7 < float(made.V.detach().std()) < 1.3 and 0.7 < float(made.E.detach().std()) < 1.3
