from __future__ import annotations

import numpy as np
import pytest
import torch
from generative_toys import settings
from linear_toys import SEEN, TABLE, noise, task
from torch.nn import functional as F
from zslkit_baselines.cegzsl import CEGZSL, instance_contrast


def by_loop(z: np.ndarray, label: list[int], temperature: float) -> float:
    e = np.exp(z @ z.T / temperature)
    losses = []
    for i, own in enumerate(label):
        others = sum(e[i, k] for k, other in enumerate(label) if other != own)
        losses += [
            -np.log(e[i, j] / (e[i, j] + others))
            for j, other in enumerate(label)
            if other == own and j != i
        ]
    return float(np.mean(losses))


@pytest.mark.parametrize("label", [[0, 0, 1, 1, 2], [0, 0, 0, 1, 2], [3, 1, 3, 1, 3]])
def test_the_contrast_between_images_is_that_of_a_loop_over_pairs(label: list[int]) -> None:
    z = F.normalize(noise(0, 5, 4).double(), dim=1)
    assert instance_contrast(z, torch.tensor(label), 0.3).item() == pytest.approx(
        by_loop(z.numpy(), label, 0.3), rel=1e-9
    )


@pytest.mark.parametrize("label", [[0, 1, 2, 3], [0, 0, 0, 0]])
def test_a_batch_without_pairs_or_without_others_costs_nothing_and_breaks_nothing(
    label: list[int],
) -> None:
    z = F.normalize(noise(0, 4, 3), dim=1).requires_grad_()
    loss = instance_contrast(z, torch.tensor(label), 0.1)
    loss.backward()
    assert loss.item() == 0 and z.grad is not None and bool((z.grad == 0).all())


def test_no_likeness_is_too_large() -> None:
    z = F.normalize(noise(0, 4, 3), dim=1)
    assert bool(torch.isfinite(instance_contrast(z, torch.tensor([0, 0, 1, 1]), 1e-4)))


def test_the_contrast_between_classes_is_a_softmax_over_the_seen_ones() -> None:
    torch.manual_seed(0)
    model = CEGZSL(
        settings("cegzsl", instance=0.5, classes=2.0, class_temperature=0.4),
        task(TABLE, SEEN, width=8),
    ).double()
    label = torch.tensor([0, 1, 2, 4, 4])
    x, a = noise(0, 5, 8).double(), model.attributes[label]
    terms = model.generator_terms(x, a, label, torch.Generator().manual_seed(1))
    h = model.space(x).detach().numpy()
    c = model.comparator
    W, V, w = (p.detach().numpy() for p in (c.of_h.weight, c.of_a.weight, c.out.weight))
    losses = []
    for i, k in enumerate([0, 1, 2, 3, 3]):  # places among the seen classes
        fits = []
        for a_s in model.attributes[model.seen].numpy():
            before = W @ h[i] + c.of_h.bias.detach().numpy() + V @ a_s
            fits.append(
                (w[0] @ np.where(before > 0, before, 0.2 * before) + c.out.bias.item()) / 0.4
            )
        losses.append(np.log(np.exp(fits).sum()) - fits[k])
    assert terms["class_real"].item() == pytest.approx(2.0 * np.mean(losses), rel=1e-6)
    z = F.normalize(model.projection(model.space(x)), dim=1).detach().numpy()
    assert terms["instance_real"].item() == pytest.approx(
        0.5 * by_loop(z, label.tolist(), 0.1), rel=1e-6
    )
    assert set(terms) == {"generator", "instance_real", "instance_made", "class_real", "class_made"}


def test_made_features_are_contrasted_as_features_of_their_class() -> None:
    torch.manual_seed(0)
    model = CEGZSL(settings("cegzsl"), task(TABLE, SEEN, width=8))
    label = torch.tensor([0, 1, 1, 4])
    terms = model.generator_terms(
        noise(0, 4, 8), model.attributes[label], label, torch.Generator().manual_seed(1)
    )
    made = model.make(
        torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), model.attributes[label]
    )
    again = model.generator_terms(
        made, model.attributes[label], label, torch.Generator().manual_seed(2)
    )
    torch.testing.assert_close(terms["instance_made"], again["instance_real"])
    torch.testing.assert_close(terms["class_made"], again["class_real"])
