from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from attention_task import (
    GROUPS,
    LABEL,
    SEEN,
    A,
    C,
    D,
    H,
    W,
    every_gradient_is_finite,
    task,
    trained_in_the_world,
    world,
)
from torch import Tensor, nn
from zslkit_baselines.apn import APN, APNConfig, freeze
from zslkit_baselines.attribute_maps import compactness, decorrelation

from zslkit.errors import UserError
from zslkit.model import check_model


def model(images: bool = False, **settings: object) -> APN:
    """An APN in float64 whose prototypes are of the size of its features."""
    torch.manual_seed(0)
    made = APN(APNConfig(**settings), task(images=images)).double()
    nn.init.normal_(made.V)
    nn.init.normal_(made.P)
    return made


WEIGHTS = {
    "w_attribute": 0.3,
    "w_local_attribute": 0.2,
    "w_local_class": 0.5,
    "w_decorrelation": 0.7,
    "w_global_decorrelation": 0.1,
    "w_compactness": 0.05,
}


def test_it_keeps_the_contract() -> None:
    assert check_model("apn", APN) is APN
    assert APN.protocol == "inductive"


def test_three_prototypes_in_two_groups_by_hand() -> None:
    P = torch.tensor([[3.0, 0.0], [4.0, 0.0], [5.0, 12.0]], dtype=torch.float64)
    groups = [(0, 1), (2,)]
    # channel by channel: 5 + 0 for the first group, 5 + 12 for the second; one norm per group: 5 +
    # 13
    assert decorrelation(P, groups).item() == pytest.approx(22, abs=1e-3)
    assert decorrelation(P, groups, per_channel=False).item() == pytest.approx(18, abs=1e-3)


def test_compactness_counts_squared_cells_from_the_peak() -> None:
    weight = torch.zeros(1, 1, 6)
    weight[0, 0, 4] = 1.0  # row 1, column 1 of a 2 x 3 map
    assert compactness(weight, torch.tensor([[4]]), (2, 3)).item() == 0
    assert compactness(weight, torch.tensor([[0]]), (2, 3)).item() == 2
    assert compactness(weight, torch.tensor([[2]]), (2, 3)).item() == 2
    assert compactness(weight, torch.tensor([[5]]), (2, 3)).item() == 1


def by_hand(made: APN, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """g (B, A), M (B, A, H, W) and class scores z (B, C), with one loop per index."""
    V, P = made.V.detach().numpy(), made.P.detach().numpy()
    g, M, z = np.zeros((len(x), A)), np.zeros((len(x), A, H, W)), np.zeros((len(x), C))
    for n, f in enumerate(x.numpy()):
        for i in range(A):
            answers = []
            for row in range(H):
                for column in range(W):
                    M[n, i, row, column] = f[:, row, column] @ P[i]
                    answers.append(f[:, row, column] @ V[i])
            g[n, i] = max(answers) if made.config.pooling == "max" else sum(answers) / len(answers)
        for k in range(C):
            z[n, k] = g[n] @ made.attributes.numpy()[k]
    return g, M, z


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_scores_are_those_of_plain_loops(pooling: str, x: Tensor) -> None:
    made = model(pooling=pooling, output="scores")
    _, M, z = by_hand(made, x)
    np.testing.assert_allclose(made.scores(x).detach().numpy(), z, rtol=1e-9)
    np.testing.assert_allclose(made.attention(x)["prototypes"].maps.detach().numpy(), M, rtol=1e-9)


@pytest.mark.parametrize("equations", ["paper", "released"])
def test_losses_are_those_of_plain_loops(equations: str, x: Tensor) -> None:
    made = model(equations=equations, **WEIGHTS)
    g, M, _ = by_hand(made, x)
    table = made.attributes.numpy()
    local = np.array([[M[n, i].max() for i in range(A)] for n in range(len(x))])
    seen = [k for k in range(C) if SEEN[k]]

    def entropy(predicted: np.ndarray) -> float:
        total = 0.0
        for n, k in enumerate(LABEL.tolist()):
            z = [predicted[n] @ table[j] for j in seen]
            if equations == "released":
                z = [math.exp(v) / sum(math.exp(u) for u in z) for v in z]
            total += math.log(sum(math.exp(v) for v in z)) - z[seen.index(k)]
        return total / len(LABEL)

    def regression(predicted: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    (predicted[n, i] - table[k, i]) ** 2
                    for n, k in enumerate(LABEL.tolist())
                    for i in range(A)
                ]
            )
        )

    def norms(P: np.ndarray) -> float:
        total = 0.0
        for group in GROUPS.values():
            squares = [sum(P[i, d] ** 2 for i in group) for d in range(D)]
            total += (
                math.sqrt(sum(squares))
                if equations == "released"
                else sum(math.sqrt(s) for s in squares)
            )
        return total

    spread = 0.0
    for n in range(len(x)):
        for i in range(A):
            top, left = np.unravel_index(M[n, i].argmax(), (H, W))
            for row in range(H):
                for column in range(W):
                    m = M[n, i, row, column]
                    weight = 1 / (1 + math.exp(-m)) if equations == "released" else m
                    spread += weight * ((row - top) ** 2 + (column - left) ** 2)
    expected = {
        "cross_entropy": entropy(g),
        "local_class": 0.5 * entropy(local),
        "attribute": 0.3 * regression(g),
        "local_attribute": 0.2 * regression(local),
        "decorrelation": 0.7 * norms(made.P.detach().numpy()),
        "global_decorrelation": 0.1 * norms(made.V.detach().numpy()),
        "compactness": 0.05 * spread,
    }
    terms = {name: term.item() for name, term in made.loss(x, LABEL).items()}
    assert terms == pytest.approx(expected, rel=1e-6)


def test_a_weight_of_zero_switches_a_term_off(x: Tensor) -> None:
    assert set(model(**dict.fromkeys(WEIGHTS, 0.0)).loss(x, LABEL)) == {"cross_entropy"}


def test_without_groups_all_attributes_are_one() -> None:
    assert APN(APNConfig(), task(groups=False)).groups == [(0, 1, 2, 3)]
    assert APN(APNConfig(use_groups=False), task()).groups == [(0, 1, 2, 3)]
    assert APN(APNConfig(), task()).groups == [(0, 2), (1, 3)]


def test_a_part_counts_as_often_as_it_is_named() -> None:
    assert APN(APNConfig(parts=("tail", "head", "tail")), task()).groups == [(1, 3), (0, 2), (1, 3)]
    assert decorrelation(torch.ones(2, 1), [(0,), (0,), (1,)]).item() == pytest.approx(3)
    with pytest.raises(
        UserError,
        match="parts names 'tial', and made-up has no such attribute group; did you mean \"tail\"",
    ):
        APN(APNConfig(parts=("tial",)), task())


def test_softmax_keeps_the_order_of_classes_even_where_one_takes_all(x: Tensor) -> None:
    made = model(output="softmax")
    plain = model(output="scores")
    for scale in (1, 40):
        p, z = made.scores(scale * x), plain.scores(scale * x)
        assert torch.allclose(p.sum(dim=1), torch.ones(4, dtype=torch.float64))
        assert torch.equal(p.argsort(dim=1), z.argsort(dim=1))


def test_unseen_classes_do_not_enter_the_loss(x: Tensor) -> None:
    made, other = model(**WEIGHTS), model(**WEIGHTS)
    other.attributes[~other.seen] = 9.0
    for name, term in made.loss(x, LABEL).items():
        assert term.item() == other.loss(x, LABEL)[name].item()


def test_the_score_of_an_image_does_not_depend_on_its_batch(x: Tensor) -> None:
    made = model()
    alone = torch.cat([made.scores(image[None]) for image in x])
    assert torch.allclose(made.scores(x), alone, rtol=1e-12)
    assert torch.allclose(made.scores(x.flip(0)).flip(0), alone, rtol=1e-12)


@pytest.mark.parametrize("equations", ["paper", "released"])
def test_every_gradient_is_finite_down_to_the_pixels_filters(equations: str) -> None:
    made = model(images=True, equations=equations, **WEIGHTS)
    images = torch.randn(4, 3, 2 * H, 2 * W, dtype=torch.float64)
    sum(made.loss(images, LABEL).values()).backward()
    every_gradient_is_finite(made)


def test_prototypes_of_zero_have_a_finite_gradient(x: Tensor) -> None:
    made = model(**WEIGHTS)
    nn.init.zeros_(made.P)
    sum(made.loss(x, LABEL).values()).backward()
    assert made.P.grad is not None and made.P.grad.isfinite().all()


def test_warm_up_trains_prototypes_alone_then_all_decay_together() -> None:
    made = model(images=True, warmup_epochs=2, warmup_lr=1e-4)
    groups = made.parameter_groups()
    assert {name: len(group) for name, group in groups.items()} == {"prototypes": 2, "backbone": 4}
    assert [made.learning_rate(e, "prototypes") for e in (0, 1, 2, 10, 25)] == pytest.approx(
        [1e-4, 1e-4, 1e-6, 0.8e-6, 0.64e-6]
    )
    assert [made.learning_rate(e, "backbone") for e in (0, 1, 2, 10, 25)] == pytest.approx(
        [0, 0, 1e-6, 0.8e-6, 0.64e-6]
    )


def test_a_frozen_map_leaves_no_backbone_group() -> None:
    assert set(model().parameter_groups()) == {"prototypes"}


def test_frozen_parts_of_the_backbone_are_not_trained() -> None:
    made = APN(APNConfig(freeze=("0",)), task(images=True))
    trained = made.parameter_groups()["backbone"]
    assert len(trained) == 2 and all(p.shape[0] == D for p in trained)


def test_freezing_looks_through_wrappers_and_knows_whole_parts_only() -> None:
    net = nn.Sequential(nn.ModuleDict({"layer1": nn.Linear(2, 2), "layer10": nn.Linear(2, 2)}))
    freeze(net, ("layer1",))
    assert {n: p.requires_grad for n, p in net.named_parameters() if n.endswith("bias")} == {
        "0.layer1.bias": False,
        "0.layer10.bias": True,
    }
    with pytest.raises(
        UserError, match="'stem' and the backbone has no such part; it has: layer1, layer10"
    ):
        freeze(net, ("stem",))


def test_pooled_features_are_refused() -> None:
    with pytest.raises(UserError, match="feature maps"):
        APN(APNConfig(), task(shape=None))


def test_a_partial_train_section_keeps_the_rest_of_apns_own() -> None:
    train = APNConfig.model_validate({"train": {"epochs": 3}}).train
    assert (train.epochs, train.optimizer, train.lr, train.momentum) == (3, "adam", 1e-6, 0.5)


def test_it_learns_seen_and_unseen_classes_of_a_made_up_world() -> None:
    torch.manual_seed(0)
    made = APN(APNConfig(w_decorrelation=1e-4), world())
    seen, unseen = trained_in_the_world(made, torch.optim.Adam(made.parameters(), lr=0.05))
    assert seen > 0.8 and unseen > 0.8


@pytest.mark.parametrize(
    ("equations", "expected"), [("released", [False, False, True]), ("paper", [True, True, True])]
)
def test_the_programs_compactness_begins_after_the_warm_up(
    equations: str, expected: list[bool], x: Tensor
) -> None:
    apn = model(equations=equations, warmup_epochs=2, **WEIGHTS)
    assert "compactness" in apn.loss(x, LABEL)  # without a loop there is no warm-up
    found = []
    for epoch in range(3):
        apn.begin_epoch(epoch)
        found.append("compactness" in apn.loss(x, LABEL))
    assert found == expected
