from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from attention_task import LABEL, SEEN, A, C, H, W, task
from torch import Tensor
from zslkit_baselines.msdn import MSDN, MSDNConfig

R = H * W


def model(**settings: Any) -> MSDN:
    """In float64 with attention that is anything but uniform."""
    torch.manual_seed(0)
    made = MSDN(MSDNConfig(**settings), task()).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def by_hand(made: MSDN, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Biased class scores z, y (B, C) and the attentions (B, A, R), one image, one attribute, one
    region at a time."""
    w = {name: p.detach().numpy() for name, p in made.named_parameters()}
    V = (
        w["V"] / np.linalg.norm(w["V"], axis=1, keepdims=True)
        if made.config.normalise_V
        else w["V"]
    )
    z, y = np.zeros((len(x), C)), np.zeros((len(x), C))
    look, speak = np.zeros((len(x), A, R)), np.zeros((len(x), A, R))
    for n, image in enumerate(x.numpy()):
        regions = [
            image[:, i, j] / np.linalg.norm(image[:, i, j]) for i in range(H) for j in range(W)
        ]
        for r, f in enumerate(regions):
            weights = [math.exp(V[i] @ w["W3"] @ f) for i in range(A)]
            speak[n, :, r] = np.array(weights) / sum(weights)
        for i in range(A):
            weights = [math.exp(V[i] @ w["W2"] @ f) for f in regions]
            look[n, i] = np.array(weights) / sum(weights)
            s = sum(look[n, i, r] * (V[i] @ w["W1"] @ f) for r, f in enumerate(regions))
            t = sum(speak[n, i, r] * (V[i] @ w["W4"] @ f) for r, f in enumerate(regions))
            z[n] += made.attributes.numpy()[:, i] * s
            y[n] += made.attributes.numpy()[:, i] * t
    bias = np.where(SEEN, -made.config.bias, made.config.bias)
    return z + bias, y + bias, look, speak


@pytest.mark.parametrize(
    "settings", [{}, {"mix": 0.3}, {"mix": 0.0}, {"normalise_V": True}, {"bias": 0.25}]
)
def test_scores_are_those_of_plain_loops(settings: dict[str, Any], x: Tensor) -> None:
    made = model(**settings)
    z, y, _, _ = by_hand(made, x)
    mix = made.config.mix
    np.testing.assert_allclose(made.scores(x).detach().numpy(), mix * z + (1 - mix) * y, rtol=1e-9)


def test_both_attentions_are_those_of_plain_loops(x: Tensor) -> None:
    made = model()
    _, _, look, speak = by_hand(made, x)
    parts = made.attention(x)
    np.testing.assert_allclose(
        parts["attribute to visual"].maps.detach().flatten(2).numpy(), look, rtol=1e-9
    )
    np.testing.assert_allclose(
        parts["visual to attribute"].maps.detach().flatten(2).numpy(), speak, rtol=1e-9
    )


def test_losses_are_those_of_plain_loops(x: Tensor) -> None:
    made = model(bias=0.75, lambda_cal=0.25, lambda_distill=0.5)
    tables = by_hand(made, x)[:2]
    bias = np.where(SEEN, -0.75, 0.75)
    entropy, calibration = [], 0.0
    softmax = []
    for table in tables:
        total = mass = 0.0
        for n, k in enumerate(LABEL.tolist()):
            unbiased = table[n] - bias
            total += (math.log(sum(math.exp(v) for v in unbiased)) - unbiased[k]) / len(LABEL)
            whole = sum(math.exp(v) for v in table[n])
            mass += sum(math.exp(table[n, j]) / whole for j in range(C) if not SEEN[j]) / len(LABEL)
        entropy.append(total)
        calibration -= 0.25 * math.log(mass)
        softmax.append(np.exp(table) / np.exp(table).sum(axis=1, keepdims=True))
    distance = 0.0
    for n in range(len(LABEL)):
        d = tables[0][n] - tables[1][n]
        p, q = softmax[0][n], softmax[1][n]
        m = (p + q) / 2
        distance += (abs(d) ** 3).sum() / math.sqrt((d**2).sum()) + (
            (p * np.log(p / m)).sum() + (q * np.log(q / m)).sum()
        ) / 2
    terms = {name: term.item() for name, term in made.loss(x, LABEL).items()}
    assert terms == pytest.approx(
        {
            "cross_entropy_visual": entropy[0],
            "cross_entropy_attribute": entropy[1],
            "calibration": calibration,
            "distillation": 0.5 * distance / len(LABEL),
        },
        rel=1e-6,
    )


def test_training_starts_uniform_and_with_a_silent_second_branch(x: Tensor) -> None:
    made = MSDN(MSDNConfig(), task()).double()
    look, speak = made.attention(x).values()
    assert torch.allclose(look.maps, torch.full_like(look.maps, 1 / R))
    assert torch.allclose(speak.maps, torch.full_like(speak.maps, 1 / A))
    assert speak.scores is not None and not speak.scores.any()
    sum(made.loss(x, LABEL).values()).backward()
    assert made.W4.grad is not None and made.W4.grad.abs().max() > 0
