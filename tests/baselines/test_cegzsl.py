from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from generative_toys import settings
from linear_toys import SEEN, TABLE, noise, task
from torch.nn import functional as F
from zslkit_baselines import cegzsl
from zslkit_baselines.cegzsl import CEGZSL, instance_contrast, pair_contrast
from zslkit_baselines.wgan import gradient_penalty, sum_of

Contrast = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def by_loop(z: np.ndarray, label: list[int], temperature: float, how: str = "released") -> float:
    e = np.exp(z @ z.T / temperature)
    images, pairs = [], []
    for i, own in enumerate(label):
        others = [k for k, other in enumerate(label) if other != own]
        mates = [j for j, other in enumerate(label) if other == own and j != i]
        if how == "paper":
            pairs += [-np.log(e[i, j] / (e[i, j] + e[i, others].sum())) for j in mates]
        elif mates:
            images.append(np.mean([-np.log(e[i, j] / e[i, others + mates].sum()) for j in mates]))
    return float(np.mean(images or pairs))


@pytest.mark.parametrize(
    "label", [[0, 0, 1, 1, 2], [0, 0, 0, 1, 2], [3, 1, 3, 1, 3], [0, 0, 0, 0, 0]]
)
def test_the_contrast_between_images_is_that_of_a_loop_over_pairs(label: list[int]) -> None:
    z = F.normalize(noise(0, 5, 4).double(), dim=1)
    assert instance_contrast(z, torch.tensor(label), 0.3).item() == pytest.approx(
        by_loop(z.numpy(), label, 0.3), rel=1e-9
    )
    paper = pair_contrast(z, torch.tensor(label), 0.3).item()
    assert paper == pytest.approx(by_loop(z.numpy(), label, 0.3, "paper"), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("contrast", [instance_contrast, pair_contrast])
@pytest.mark.parametrize("label", [[0, 1, 2, 3], [0]])
def test_a_batch_without_pairs_costs_nothing_and_breaks_nothing(
    label: list[int], contrast: Contrast
) -> None:
    z = F.normalize(noise(0, len(label), 3), dim=1).requires_grad_()
    loss = contrast(z, torch.tensor(label), 0.1)
    loss.backward()
    assert loss.item() == 0 and z.grad is not None and bool((z.grad == 0).all())


def test_no_likeness_is_too_large() -> None:
    z = F.normalize(noise(0, 4, 3), dim=1)
    assert bool(torch.isfinite(instance_contrast(z, torch.tensor([0, 0, 1, 1]), 1e-4)))


def model(**changes: Any) -> CEGZSL:
    torch.manual_seed(0)
    made = CEGZSL(settings("cegzsl", **changes), task(TABLE, SEEN, width=8)).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize("contrast", ["released", "paper"])
def test_the_critics_step_contrasts_real_features_at_weight_one(contrast: str) -> None:
    m = model(instance=0.5, classes=2.0, class_temperature=0.4, contrast=contrast)
    label = torch.tensor([0, 1, 2, 4, 4])
    x, a = noise(0, 5, 8).double(), m.attributes[label]
    n, t = noise(1, 5, m.n_noise).double(), noise(2, 5, 1).double().sigmoid()
    terms = m.real_terms(x, a, label, n, t)
    h = np.maximum(
        x.numpy() @ m.embedder.weight.detach().numpy().T + m.embedder.bias.detach().numpy(), 0
    )
    c = m.comparator
    W, V, w = (p.detach().numpy() for p in (c.of_h.weight, c.of_a.weight, c.out.weight))
    losses = []
    for i, k in enumerate([0, 1, 2, 3, 3]):  # places among the seen classes
        fits = []
        for a_s in m.attributes[m.seen].numpy():
            before = W @ h[i] + c.of_h.bias.detach().numpy() + V @ a_s
            fits.append(
                (w[0] @ np.where(before > 0, before, 0.2 * before) + c.out.bias.item()) / 0.4
            )
        losses.append(np.log(np.exp(fits).sum()) - fits[k])
    z = h @ m.projector.weight.detach().numpy().T + m.projector.bias.detach().numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    made = m.make(n, a)
    expected = {
        "critic_made": m.critic(made, a).mean().item(),
        "critic_real": -m.critic(x, a).mean().item(),
        "penalty": 10 * gradient_penalty(m.critic, x, made.detach(), a, t).item(),
        "instance_real": by_loop(z, label.tolist(), 0.1, contrast),
        "class_real": np.mean(losses),
    }
    assert {key: term.item() for key, term in terms.items()} == pytest.approx(expected, rel=1e-6)


def test_the_generators_step_contrasts_made_features_with_real_ones_too() -> None:
    m = model(instance=0.5, classes=2.0)
    label = torch.tensor([0, 1, 1, 4])
    x, a, n = noise(0, 4, 8).double(), m.attributes[label], noise(1, 4, m.n_noise).double()
    terms = m.made_terms(x, a, label, n)
    made = m.make(n, a)
    z = m.projected(m.space(torch.cat([made, x]))).detach().numpy()
    assert terms["instance_made"].item() == pytest.approx(0.5 * by_loop(z, label.tolist() * 2, 0.1))
    assert terms["class_made"].item() == pytest.approx(2.0 * m.fits(m.space(made), label).item())
    assert terms["generator"].item() == pytest.approx(-m.critic(made, a).mean().item())
    assert set(terms) == {"generator", "instance_made", "class_made"}


@pytest.mark.parametrize("add_up", [True, False])
def test_the_comparators_gradients_add_up_over_an_epoch_unless_told_otherwise(add_up: bool) -> None:
    m = model(add_up=add_up)
    label = torch.tensor([0, 1, 2, 4, 4])
    batch = (
        noise(0, 5, 8).double(),
        m.attributes[label],
        label,
        noise(1, 5, m.n_noise).double(),
        torch.full((5, 1), 0.5).double(),
    )
    found = []
    for _ in range(2):
        m.clear()
        sum_of(m.real_terms(*batch)).backward()
        found.append(
            [
                p.grad.clone()
                for p in (m.comparator.out.weight, m.embedder.weight)
                if p.grad is not None
            ]
        )
    torch.testing.assert_close(found[1][0], found[0][0] * (2 if add_up else 1))
    torch.testing.assert_close(found[1][1], found[0][1])
    m.begin(1, 0, {})
    assert m.comparator.out.weight.grad is None


def test_the_learning_rates_fade_after_every_hundred_epochs() -> None:
    m = model(lr=1.0)
    optimizers = m.optimizers()
    for epoch, lr in ((0, 1.0), (99, 1.0), (100, 0.99), (250, 0.99**2)):
        m.begin(epoch, 0, optimizers)
        assert {
            group["lr"] for optimizer in optimizers.values() for group in optimizer.param_groups
        } == {lr}


def test_the_comparator_made_in_parts_answers_and_learns_as_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    m = model()
    h, a = noise(0, 7, m.config.embedding).double().requires_grad_(), m.attributes[m.seen]
    found = []
    for room in (10**9, 2 * len(a) * m.config.comparator):
        monkeypatch.setattr(cegzsl, "ROOM", room)
        m.zero_grad(set_to_none=True)
        h.grad = None
        fits = m.comparator(h, a)
        fits.square().sum().backward()
        assert h.grad is not None and m.comparator.of_a.weight.grad is not None
        found.append((fits.detach(), h.grad, m.comparator.of_a.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
