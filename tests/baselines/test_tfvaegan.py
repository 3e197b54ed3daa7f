from __future__ import annotations

import numpy as np
import pytest
import torch
from generative_toys import settings
from linear_toys import SEEN, TABLE, learnable, noise, task, trained
from zslkit_baselines.tfvaegan import TFVAEGAN
from zslkit_baselines.wgan import MLP


def model(**changes: float) -> TFVAEGAN:
    torch.manual_seed(0)
    made = TFVAEGAN(settings("tfvaegan", hidden=6, **changes), task(TABLE, SEEN, width=8)).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def hidden(mlp: MLP, *inputs: np.ndarray) -> np.ndarray:
    before = (
        np.concatenate(inputs, axis=1) @ mlp.hidden.weight.detach().numpy().T
        + mlp.hidden.bias.detach().numpy()
    )
    return np.where(before > 0, before, 0.2 * before)


def out(mlp: MLP, h: np.ndarray) -> np.ndarray:
    return h @ mlp.out.weight.detach().numpy().T + mlp.out.bias.detach().numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_the_feedback_is_added_to_the_generators_hidden_layer() -> None:
    m = model(delta=0.7)
    z, a = noise(0, 4, 3).double(), m.attributes[[0, 1, 2, 4]]
    h = hidden(m.generator, z.numpy(), a.numpy())
    first = sigmoid(out(m.generator, h))
    heard = out(m.feedback, hidden(m.feedback, hidden(m.decoder, first)))
    np.testing.assert_allclose(m.made(z, a, with_feedback=False).detach(), first)
    np.testing.assert_allclose(m.make(z, a).detach(), sigmoid(out(m.generator, h + 0.7 * heard)))


@pytest.mark.parametrize("seed", range(4))
def test_the_generator_step_has_the_terms_of_the_equations(seed: int) -> None:
    m = model(alpha=3.0, beta=0.5)
    label = torch.tensor([0, 1, 2, 4, 1])
    x, a = noise(0, 5, 8).double().sigmoid(), m.attributes[label]
    terms = m.generator_terms(x, a, label, torch.Generator().manual_seed(seed))
    random = torch.Generator().manual_seed(seed)
    with_feedback = bool(torch.randint(2, (), generator=random))
    posterior = out(m.encoder, hidden(m.encoder, x.numpy(), a.numpy()))
    mu, v = posterior[:, :3], posterior[:, 3:]
    z_e, z = (torch.randn(5, 3, generator=random).double() for _ in range(2))
    rebuilt = (
        m.made(torch.from_numpy(mu + np.exp(v / 2) * z_e.numpy()), a, with_feedback)
        .detach()
        .numpy()
    )
    made = m.made(z, a, with_feedback).detach()
    real = x.numpy()

    def attributes_of(features: np.ndarray) -> np.ndarray:
        return out(m.decoder, hidden(m.decoder, features))

    expected = {
        "divergence": (0.5 * (mu**2 + np.exp(v) - 1 - v)).sum() / 5,
        "reconstruction": -(real * np.log(rebuilt) + (1 - real) * np.log(1 - rebuilt)).sum() / 5,
        "generator": -3.0 * m.critic(made, a).detach().numpy().mean(),
        "attributes": 0.5
        * sum(np.abs(attributes_of(f) - a.numpy()).sum() / 5 for f in (real, made.numpy())),
    }
    assert terms.keys() == expected.keys()
    for key, value in expected.items():
        assert terms[key].item() == pytest.approx(value, rel=1e-6), key


def test_the_classifier_sees_features_decoder_and_attributes() -> None:
    m = model()
    x = noise(0, 4, 8).double()
    h = hidden(m.decoder, x.numpy())
    np.testing.assert_allclose(
        m.space(x).detach(), np.concatenate([x.numpy(), h, out(m.decoder, h)], axis=1)
    )


def test_steps_with_and_without_feedback_take_turns() -> None:
    m = model()
    label = torch.tensor([0, 1, 2, 4])
    x, a, random = (
        noise(0, 4, 8).double().sigmoid(),
        m.attributes[label],
        torch.Generator().manual_seed(0),
    )
    heard = []
    for _ in range(40):
        m.zero_grad()
        m.generator_terms(x, a, label, random)["reconstruction"].backward()
        heard.append(m.feedback.out.weight.grad is not None)
    assert 10 < sum(heard) < 30


def test_made_features_start_at_the_mean_of_the_real_ones() -> None:
    given, view, _, _ = learnable()
    m = trained(
        TFVAEGAN, settings("tfvaegan", epochs=1, lr=1e-12, classifier__epochs=1), given, view
    )
    mean = m.scaling(view.x).mean(dim=0)
    made = m.made(noise(0, 50, 3), m.attributes[[0] * 50], with_feedback=False)
    torch.testing.assert_close(made.mean(dim=0), mean, atol=0.05, rtol=0)
