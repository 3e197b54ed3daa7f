"""APN against the authors' program: scores, each loss term and gradient, with each dataset's
settings and one of larger weights."""

from __future__ import annotations

import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of
from zslkit_baselines.apn import APN, APNConfig

WEIGHTS = {
    "w_attribute": "attri",
    "w_global_decorrelation": "regular",
    "w_local_class": "l_xe",
    "w_local_attribute": "l_attri",
    "w_decorrelation": "l_regular",
    "w_compactness": "cpt",
}
TERMS = {
    "cross_entropy": "l_xe_final",
    "attribute": "l_attri_final",
    "global_decorrelation": "l_regular_final",
    "local_class": "l_xe_layer",
    "local_attribute": "l_attri_layer",
    "decorrelation": "l_regular_layer",
    "compactness": "l_cpt",
}
COUNTED = 7
"""The program loops over the first seven names of CUB's list of parts, in which belly stands
twice."""


def model(case: Case, variant: str, dtype: torch.dtype) -> APN:
    given = case.below(f"in/{variant}")
    groups = {
        n: tuple(ids.tolist())
        for n, ids in case.below("in/groups_sun" if variant == "sun" else "in/groups_cub").items()
    }
    counted = case["in/parts_cub_as_index_of_sorted_group_names"][:COUNTED]
    grouped = bool(given["use_group"])
    weights = {ours: float(given[theirs]) for ours, theirs in WEIGHTS.items()}
    if not grouped:
        weights["w_compactness"] = 0.0
    config = APNConfig(
        equations="released",
        pooling="average" if given["avg_pool"] else "max",
        use_groups=grouped,
        parts=() if variant == "sun" else tuple(sorted(groups)[i] for i in counted),
        **weights,
    )
    made = APN(config, task_of(case, groups=groups)).to(dtype)
    state = {"V": case["state/ALE_vector"], "P": case["state/prototype_vectors.layer4"]}
    fill(made, {name: value.reshape(value.shape[:2]) for name, value in state.items()})
    fill(made, {"attributes": case["in/att"]})
    return made


@pytest.mark.parametrize("variant", ["cub", "sun", "awa2", "heavy"])
@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]
)
def test_losses_and_gradients(
    case: Case, variant: str, dtype: torch.dtype, relative: float
) -> None:
    made, train = model(case, variant, dtype), case.below(f"train/{variant}")
    terms = made.loss(case.tensor("in/feature_map", dtype), case.tensor("in/label"))
    for ours, theirs in TERMS.items():
        close(terms.get(ours, 0.0), train[theirs], relative)
    total = sum(terms.values())
    close(total, train["total"], relative)
    close(total - terms.get("compactness", 0.0), train["total_while_prototypes_warm_up"], relative)
    total.backward()
    for ours, theirs in (("V", "ALE_vector"), ("P", "prototype_vectors.layer4")):
        gradient = case[f"grad/{variant}/{theirs}"]
        close(made.get_parameter(ours).grad, gradient.reshape(gradient.shape[:2]), relative)


@pytest.mark.parametrize("variant", ["cub", "sun"])
@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]
)
def test_answers(case: Case, variant: str, dtype: torch.dtype, relative: float) -> None:
    made, answers, x = (
        model(case, variant, dtype),
        case.below(f"eval/{variant}"),
        case.tensor("in/feature_map", dtype),
    )
    maps = made.attention(x)["prototypes"]
    close(maps.maps, answers["attention"], relative)
    close(maps.scores, answers["global_attr_scores"], relative)
    close(maps.maps.flatten(2).amax(dim=2), answers["local_attr_scores"], relative)
    p = made.scores(x)
    close(p, answers["class_probs_over_all"], relative)
    gamma = case.number(f"in/{variant}/calibrated_stacking")
    close(p - gamma * made.seen.double(), answers["calibrated_probs_over_all"], relative)
    for name, chosen in (("seen", made.seen), ("unseen", ~made.seen)):
        close(
            (maps.scores @ made.attributes[chosen].T).softmax(dim=1),
            answers[f"class_probs_over_{name}"],
            relative,
        )
        local = maps.maps.flatten(2).amax(dim=2)
        close(
            (local @ made.attributes[chosen].T).softmax(dim=1),
            answers[f"class_probs_layer_over_{name}"],
            relative,
        )
