from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from attention_task import LABEL, SEEN, A, C, H, W, task
from torch import Tensor
from zslkit_baselines.transzero import TransZero, TransZeroConfig, relative_geometry

R = H * W


def model(**settings: Any) -> TransZero:
    """In float64; every parameter is random, those of normalisation layers included."""
    torch.manual_seed(0)
    made = (
        TransZero(TransZeroConfig(**({"width": 5, "feed_forward": 7} | settings)), task())
        .double()
        .eval()
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def by_hand(made: TransZero, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Attribute scores s (B, A) and decoder attention (B, A, R), one image, one attribute, one
    region at a time."""
    w = {name: p.detach().numpy() for name, p in made.named_parameters()}
    cfg = made.config

    def linear(name: str, v: np.ndarray) -> np.ndarray:
        return w[f"{name}.weight"] @ v + w[f"{name}.bias"]

    def norm(name: str, v: np.ndarray) -> np.ndarray:
        return (v - v.mean()) / math.sqrt(v.var() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attend(
        name: str, query: np.ndarray, keys: list[np.ndarray], less: list[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        logits = [
            linear(f"{name}.Q", query) @ linear(f"{name}.K", k) / math.sqrt(cfg.width) - g
            for k, g in zip(keys, less, strict=True)
        ]
        weights = np.exp(logits) / np.exp(logits).sum()
        answer = sum(a * linear(f"{name}.V", k) for a, k in zip(weights, keys, strict=True))
        return norm(f"{name}.norm", query + linear(f"{name}.out", answer)), weights

    def forward(name: str, v: np.ndarray) -> np.ndarray:
        return norm(
            f"{name}.norm",
            v + linear(f"{name}.layers.3", np.maximum(linear(f"{name}.layers.0", v), 0)),
        )

    def geometry(r: int, q: int) -> float:
        if not cfg.geometry:
            return 0.0
        (i, j), (k, m) = divmod(r, W), divmod(q, W)
        entries = [
            math.log(max(abs(i - k) / H / (1 / H + 1), 1e-3)),
            math.log(max(abs(j - m) / W / (1 / W + 1), 1e-3)),
            0,
            0,
        ]
        angles = np.array([100 * entry * 1000 ** (-n / 8) for entry in entries for n in range(8)])
        return float(
            np.maximum(linear("geometry", np.concatenate([np.sin(angles), np.cos(angles)])), 0)[0]
        )

    V = w["V"] / np.linalg.norm(w["V"], axis=1, keepdims=True) if cfg.normalise_V else w["V"]
    s, look = np.zeros((len(x), A)), np.zeros((len(x), A, R))
    for n, image in enumerate(x.numpy()):
        regions = [image[:, i, j] for i in range(H) for j in range(W)]
        if cfg.unit_regions:
            regions = [f / np.linalg.norm(f) for f in regions]
        u = [linear("U", f) for f in regions]
        encoded = [
            attend("encoder", u[r], u, [geometry(r, q) for q in range(R)])[0] for r in range(R)
        ]
        if cfg.second_residual:
            encoded = [norm("again", u[r] + encoded[r]) for r in range(R)]
        memory = [forward("encoder_forward", e) for e in encoded]
        queries = [linear("T", V[i]) for i in range(A)]
        if cfg.self_attention:
            queries = [attend("among", q, queries, [0.0] * A)[0] for q in queries]
        for i in range(A):
            found, look[n, i] = attend("decoder", queries[i], memory, [0.0] * R)
            s[n, i] = V[i] @ w["W"] @ forward("decoder_forward", found)
    return s, look


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"geometry": False},
        {"self_attention": False},
        {"normalise_V": True},
        {"unit_regions": False},
        {"second_residual": False},
    ],
)
def test_scores_and_attention_are_those_of_plain_loops(settings: dict[str, Any], x: Tensor) -> None:
    made = model(**settings)
    s, look = by_hand(made, x)
    bias = np.where(SEEN, -1.0, 1.0)
    np.testing.assert_allclose(
        made.scores(x).detach().numpy(), s @ made.attributes.numpy().T + bias, rtol=1e-6
    )
    np.testing.assert_allclose(
        made.attention(x)["decoder"].maps.detach().flatten(2).numpy(), look, rtol=1e-6
    )


@pytest.mark.parametrize("over", ["all", "seen"])
def test_losses_are_those_of_plain_loops(over: str, x: Tensor) -> None:
    made = model(bias=0.75, lambda_cal=0.25, lambda_reg=0.5, entropy_over=over)
    s, _ = by_hand(made, x)
    table = made.attributes.numpy()
    bias = np.where(SEEN, -0.75, 0.75)
    entropy = mass = 0.0
    for n, k in enumerate(LABEL.tolist()):
        z = [s[n] @ table[j] for j in range(C)]
        among = [math.exp(z[j]) for j in range(C) if over == "all" or SEEN[j]]
        entropy += (math.log(sum(among)) - z[k]) / len(LABEL)
        biased = [math.exp(z[j] + bias[j]) for j in range(C)]
        mass += sum(v for j, v in enumerate(biased) if not SEEN[j]) / sum(biased) / len(LABEL)
    regression = float(
        np.mean(
            [(s[n, i] - table[k, i]) ** 2 for n, k in enumerate(LABEL.tolist()) for i in range(A)]
        )
    )
    terms = {name: term.item() for name, term in made.loss(x, LABEL).items()}
    assert terms == pytest.approx(
        {
            "cross_entropy": entropy,
            "calibration": -0.25 * math.log(mass),
            "regression": 0.5 * regression,
        },
        rel=1e-5,
    )


def test_geometry_of_two_cells_in_a_row_by_hand() -> None:
    # The centres lie half a map apart, a third of a side and 1; vertically they are equal, and a
    # thousandth stands for 0.
    table = relative_geometry(1, 2)
    assert table[0, 1, [0, 8, 16]].tolist() == pytest.approx(
        [math.sin(100 * math.log(1e-3)), math.sin(100 * math.log(1 / 3)), 0]
    )
    assert table[0, 0, [32, 40, 48]].tolist() == pytest.approx(
        [math.cos(100 * math.log(1e-3))] * 2 + [1]
    )


@pytest.mark.parametrize("std", [1.0, 0.25])
def test_w_starts_with_its_standard_deviation(std: float) -> None:
    # A mean square of n draws has a relative deviation of sqrt(2 / n).
    torch.manual_seed(0)
    W = TransZero(TransZeroConfig(width=400, std_W=std), task()).W
    assert W.square().mean().item() == pytest.approx(std**2, rel=5 * math.sqrt(2 / W.numel()))


def test_word_vectors_alone_have_a_learning_rate_of_their_own() -> None:
    made = model(lr_V=10.0, train={"lr": 3e-4, "lr_factor": 0.1, "lr_every": 2})
    groups = made.parameter_groups()
    assert [id(p) for p in groups["words"]] == [id(made.V)]
    assert sorted(id(p) for group in groups.values() for p in group) == sorted(
        id(p) for p in made.parameters()
    )
    assert [made.learning_rate(epoch, "rest") for epoch in (0, 1, 2)] == pytest.approx(
        [3e-4, 3e-4, 3e-5]
    )
    assert [made.learning_rate(epoch, "words") for epoch in (0, 1, 2)] == pytest.approx(
        [3e-3, 3e-3, 3e-4]
    )


def test_dropout_acts_in_training_alone(x: Tensor) -> None:
    made = model(dropout=0.5)
    assert torch.equal(made.scores(x), made.scores(x))
    made.train()
    assert not torch.equal(made.scores(x), made.scores(x))
