from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from attention_task import GROUPS, LABEL, SEEN, A, C, D, H, W, task
from torch import Tensor
from zslkit_baselines.gem import GEMZSL, GEMConfig


def model(images: bool = False, **settings: Any) -> GEMZSL:
    torch.manual_seed(0)
    return GEMZSL(GEMConfig(**settings), task(images=images)).double()


def by_hand(made: GEMZSL, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z (B, C), attention maps M (B, A, H, W) and queries q (A, D), one index at a time."""
    V, E = made.V.detach().numpy(), made.E.detach().numpy()
    q = np.array([E @ word for word in made.words.numpy()])
    z, M = np.zeros((len(x), C)), np.zeros((len(x), A, H, W))
    for n, f in enumerate(x.numpy()):
        g = [
            sum(V[i] @ f[:, row, column] for row in range(H) for column in range(W)) / (H * W)
            for i in range(A)
        ]
        for k in range(C):
            a = made.attributes.numpy()[k]
            z[n, k] = (
                made.config.scale
                * (np.array(g) @ a)
                / (np.linalg.norm(g) + 1e-5)
                / (np.linalg.norm(a) + 1e-5)
            )
        for i in range(A):
            for row in range(H):
                for column in range(W):
                    M[n, i, row, column] = math.exp(f[:, row, column] @ q[i])
            M[n, i] /= M[n, i].sum()
    return z, M, q


@pytest.mark.parametrize("scale", [20.0, 3.0])
def test_scores_and_attention_are_those_of_plain_loops(scale: float, x: Tensor) -> None:
    made = model(scale=scale)
    z, M, _ = by_hand(made, x)
    np.testing.assert_allclose(made.scores(x).detach().numpy(), z, rtol=1e-6)
    np.testing.assert_allclose(
        made.attention(x)["attributes"].maps.detach().numpy(), M, rtol=1e-6, atol=1e-9
    )


def test_losses_are_those_of_plain_loops(x: Tensor) -> None:
    made = model(w_attribute=0.3, w_decorrelation=0.7, w_compactness=0.5)
    z, M, q = by_hand(made, x)
    entropy = spread = 0.0
    for n, k in enumerate(LABEL.tolist()):
        entropy += (math.log(sum(math.exp(z[n, j]) for j in range(C) if SEEN[j])) - z[n, k]) / len(
            LABEL
        )
        for i in range(A):
            top, left = np.unravel_index(M[n, i].argmax(), (H, W))
            for row in range(H):
                for column in range(W):
                    spread += (
                        M[n, i, row, column] * ((row - top) ** 2 + (column - left) ** 2) / M.size
                    )
    regression = float(
        np.mean(
            [
                (M[n, i].max() - made.attributes.numpy()[k, i]) ** 2
                for n, k in enumerate(LABEL.tolist())
                for i in range(A)
            ]
        )
    )
    norms = (
        sum(
            math.sqrt(sum(q[i, d] ** 2 for i in group))
            for group in GROUPS.values()
            for d in range(D)
        )
        / D
        / len(GROUPS)
    )
    terms = {name: term.item() for name, term in made.loss(x, LABEL).items()}
    expected = {
        "cross_entropy": entropy,
        "attribute": 0.3 * regression,
        "decorrelation": 0.7 * norms,
        "compactness": 0.5 * spread,
    }
    assert terms == pytest.approx(expected, rel=1e-4)


def test_a_weight_of_zero_switches_a_term_off(x: Tensor) -> None:
    weights = ("attribute", "decorrelation", "compactness")
    assert set(model(**{f"w_{name}": 0.0 for name in weights}).loss(x, LABEL)) == {"cross_entropy"}
    for name in weights:
        assert set(model(**{f"w_{name}": 0.0}).loss(x, LABEL)) == {"cross_entropy", *weights} - {
            name
        }


def test_the_local_part_reaches_the_backbone_and_not_the_global_embedding() -> None:
    made = model(images=True)
    terms = made.loss(torch.randn(4, 3, 2 * H, 2 * W, dtype=torch.float64), LABEL)
    (terms["attribute"] + terms["compactness"]).backward()
    assert made.V.grad is None
    assert made.backbone is not None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in made.backbone.parameters())
