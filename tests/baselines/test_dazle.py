from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from attention_task import (
    SEEN,
    A,
    C,
    H,
    W,
    every_gradient_is_finite,
    task,
    trained_in_the_world,
    world,
)
from torch import Tensor
from zslkit_baselines.dazle import DAZLE, DAZLEConfig

from zslkit.errors import UserError
from zslkit.model import check_model


def model(**settings: object) -> DAZLE:
    """A DAZLE in float64 whose attention is anything but uniform."""
    torch.manual_seed(0)
    made = DAZLE(DAZLEConfig(**settings), task()).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def by_hand(made: DAZLE, x: Tensor) -> np.ndarray:
    """Scores (B, C), biased, with one loop per index of the equations."""
    V = made.V.detach().numpy()
    if made.config.normalise_V:
        V = V / np.linalg.norm(V, axis=1, keepdims=True)
    W1, W2 = made.W1.detach().numpy(), made.W2.detach().numpy()
    table = made.attributes.numpy()
    scores = np.zeros((len(x), C))
    for n, image in enumerate(x.numpy()):
        regions = [
            image[:, i, j] / np.linalg.norm(image[:, i, j]) for i in range(H) for j in range(W)
        ]
        for i in range(A):
            weights = np.array([math.exp(V[i] @ W2 @ f) for f in regions])
            weights /= weights.sum()
            s = sum(w * (V[i] @ W1 @ f) for w, f in zip(weights, regions, strict=True))
            if made.W3 is not None:
                attended = sum(w * f for w, f in zip(weights, regions, strict=True))
                s *= 1 / (1 + math.exp(-(V[i] @ made.W3.detach().numpy() @ attended)))
            for k in range(C):
                scores[n, k] += table[k, i] * s
        for k in range(C):
            scores[n, k] += -made.config.bias if SEEN[k] else made.config.bias
    return scores


def test_it_keeps_the_contract() -> None:
    assert check_model("dazle", DAZLE) is DAZLE
    assert DAZLE.protocol == "class-inductive"


@pytest.mark.parametrize(
    "settings", [{}, {"attribute_attention": False}, {"normalise_V": True}, {"bias": 0.25}]
)
def test_scores_are_those_of_plain_loops(settings: dict[str, object], x: Tensor) -> None:
    made = model(**settings)
    np.testing.assert_allclose(made.scores(x).detach().numpy(), by_hand(made, x), rtol=1e-9)


def test_losses_are_those_of_plain_loops(x: Tensor) -> None:
    made = model(bias=0.75, lambda_cal=0.25)
    label = torch.tensor([0, 2, 3, 0])
    z = by_hand(made, x)
    entropy = mass = 0.0
    for n, k in enumerate(label.tolist()):
        unbiased = [z[n, j] - (-0.75 if SEEN[j] else 0.75) for j in range(C)]
        entropy += (math.log(sum(math.exp(v) for v in unbiased)) - unbiased[k]) / len(z)
        whole = sum(math.exp(v) for v in z[n])
        mass += sum(math.exp(z[n, j]) / whole for j in range(C) if not SEEN[j]) / len(z)
    terms = made.loss(x, label)
    assert set(terms) == {"cross_entropy", "calibration"}
    assert terms["cross_entropy"].item() == pytest.approx(entropy)
    assert terms["calibration"].item() == pytest.approx(-0.25 * math.log(mass))


def test_training_starts_with_uniform_attention_and_half_weights(x: Tensor) -> None:
    made = DAZLE(DAZLEConfig(), task()).double()
    F = torch.nn.functional.normalize(x.flatten(2), dim=1)
    half, attention = made.attribute_scores(F)
    assert torch.allclose(attention, torch.full_like(attention, 1 / (H * W)))
    assert torch.allclose(half, torch.einsum("iw,wd,bdr->bi", made.V, made.W1, F) / (H * W) / 2)
    assert torch.allclose(made.V.norm(dim=1), torch.ones(A, dtype=torch.float64))


def test_every_gradient_is_finite_and_none_is_missing(x: Tensor) -> None:
    made = model()
    sum(made.loss(x, torch.tensor([0, 2, 3, 0])).values()).backward()
    every_gradient_is_finite(made)


def test_the_score_of_an_image_does_not_depend_on_its_batch(x: Tensor) -> None:
    made = model()
    alone = torch.cat([made.scores(image[None]) for image in x])
    assert torch.allclose(made.scores(x), alone, rtol=1e-12)
    assert torch.allclose(made.scores(x.flip(0)).flip(0), alone, rtol=1e-12)


def test_attention_is_a_distribution_over_positions_in_row_order(x: Tensor) -> None:
    made = model()
    attention = made.attention(x)["region"].maps
    assert attention.shape == (4, A, H, W)
    assert torch.allclose(attention.sum(dim=(2, 3)), torch.ones(4, A, dtype=torch.float64))
    f = torch.nn.functional.normalize(x, dim=1)
    logits = torch.einsum("iw,wd,bdhk->bihk", made.V, made.W2, f)
    assert torch.equal(attention.flatten(2).argmax(2), logits.flatten(2).argmax(2))


def test_word_vectors_can_start_at_random() -> None:
    made = DAZLE(DAZLEConfig(word_vectors="random", word_dim=7), task(words=False))
    assert made.V.shape == (A, 7)


def test_missing_word_vectors_name_the_way_on() -> None:
    with pytest.raises(UserError, match=r"made-up has no word vectors .* word_vectors=random"):
        DAZLE(DAZLEConfig(), task(words=False))


def test_pooled_features_are_refused() -> None:
    with pytest.raises(UserError, match="feature maps"):
        DAZLE(DAZLEConfig(), task(shape=None))


def test_it_learns_seen_and_unseen_classes_of_a_made_up_world() -> None:
    torch.manual_seed(0)
    made = DAZLE(DAZLEConfig(word_vectors="random", word_dim=8, bias=0.2), world())
    seen, unseen = trained_in_the_world(
        made, torch.optim.SGD(made.parameters(), lr=0.02, momentum=0.9)
    )
    assert seen > 0.8 and unseen > 0.8
