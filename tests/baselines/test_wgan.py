from __future__ import annotations

import numpy as np
import pytest
import torch
from generative_toys import MODELS, settings
from linear_toys import SEEN, TABLE, learnable, noise, task
from zslkit_baselines.wgan import MLP, gradient_penalty, made_for

GANS = ["cegzsl", "fclswgan", "tfvaegan"]


def test_the_penalty_is_that_of_the_gradient_written_out() -> None:
    torch.manual_seed(0)
    critic = MLP(5, 7, 1).double()
    x, made, a, t = (
        noise(seed, 6, width).double() for seed, width in ((1, 3), (2, 3), (3, 2), (4, 1))
    )
    t = t.sigmoid()
    for layer in (critic.hidden, critic.out):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    W, b, w = (
        p.detach().numpy() for p in (critic.hidden.weight, critic.hidden.bias, critic.out.weight)
    )
    penalties = []
    for i in range(6):
        between = t[i].item() * x[i].numpy() + (1 - t[i].item()) * made[i].numpy()
        before = W @ np.concatenate([between, a[i].numpy()]) + b
        slope = W[:, :3].T @ (w[0] * np.where(before > 0, 1.0, 0.2))
        penalties.append((np.sqrt((slope**2).sum()) - 1) ** 2)
    assert float(gradient_penalty(critic, x, made, a, t).detach()) == pytest.approx(
        np.mean(penalties), rel=1e-9
    )


def test_the_penalty_reaches_the_critic() -> None:
    critic = MLP(5, 7, 1)
    gradient_penalty(
        critic, noise(1, 6, 3), noise(2, 6, 3), noise(3, 6, 2), torch.full((6, 1), 0.5)
    ).backward()
    assert critic.hidden.weight.grad is not None and bool(critic.hidden.weight.grad.any())


def test_the_critic_step_raises_real_features_over_made_ones() -> None:
    given, view, _, _ = learnable()
    model = MODELS["fclswgan"](settings("fclswgan", penalty=2.0), given)
    x, label = view.everything()
    a, random = model.attributes[label], torch.Generator().manual_seed(0)
    terms = model.critic_terms(x, a, random)
    random = torch.Generator().manual_seed(0)
    made = model.make(torch.randn(len(x), model.n_noise, generator=random), a)
    t = torch.rand(len(x), 1, generator=random)
    torch.testing.assert_close(
        terms["critic"], model.critic(made, a).mean() - model.critic(x, a).mean()
    )
    torch.testing.assert_close(
        terms["penalty"], 2 * gradient_penalty(model.critic, x, made.detach(), a, t)
    )


@pytest.mark.parametrize("name", GANS)
def test_the_classifier_is_given_every_real_image_and_as_many_made_ones_of_each_unseen_class(
    name: str,
) -> None:
    given, view, _, _ = learnable()
    model = MODELS[name](settings(name, made=7), given)
    x, label = view.everything()
    inputs, target = model.lesson(x, label, torch.Generator().manual_seed(0))
    assert inputs.shape == (len(x) + 14, model.classifier.in_features)
    assert torch.equal(target[: len(x)], label)
    assert target[len(x) :].tolist() == [3] * 7 + [5] * 7
    torch.testing.assert_close(inputs[: len(x)], model.space(x))


@pytest.mark.parametrize("name", GANS)
def test_without_a_number_the_made_features_follow_the_images_of_a_class(name: str) -> None:
    given, view, _, _ = learnable()
    model = MODELS[name](settings(name, made=None), given)
    x, label = view.everything()
    _, target = model.lesson(x, label, torch.Generator().manual_seed(0))
    assert len(target) - len(x) == 2 * made_for(len(x), int(given.seen.sum()))


@pytest.mark.parametrize(
    ("images", "classes", "made"), [(300, 10, 180), (3, 2, 9), (1, 50, 1), (40_000, 40, 1800)]
)
def test_six_features_for_each_image_of_a_seen_class(images: int, classes: int, made: int) -> None:
    assert made_for(images, classes) == made


@pytest.mark.parametrize("name", GANS)
def test_made_features_differ_by_noise_and_by_class(name: str) -> None:
    model = MODELS[name](settings(name), task(TABLE, SEEN, width=8))
    for layer in (model.generator.hidden, model.generator.out):
        torch.nn.init.normal_(layer.weight)
    a = model.attributes[[0, 0, 1]]
    z = noise(0, 1, model.n_noise).expand(3, -1)
    one, two, other = model.make(z, a)
    assert torch.allclose(one, two) and not torch.allclose(one, other)
    assert not torch.allclose(model.make(noise(1, 3, model.n_noise), a)[0], one)


@pytest.mark.parametrize("name", GANS)
def test_the_generator_is_trained_alone_in_its_own_step(name: str) -> None:
    model = MODELS[name](settings(name), task(TABLE, SEEN, width=8))
    trained = {id(p) for p in model.generator_parameters()}
    assert trained and not trained & {
        id(p) for p in [*model.critic.parameters(), *model.classifier.parameters()]
    }


def test_the_noise_is_as_wide_as_the_attributes_unless_set() -> None:
    assert MODELS["fclswgan"](settings("fclswgan"), task(TABLE, SEEN, width=8)).n_noise == 3
    assert (
        MODELS["fclswgan"](settings("fclswgan", noise=5), task(TABLE, SEEN, width=8)).n_noise == 5
    )
