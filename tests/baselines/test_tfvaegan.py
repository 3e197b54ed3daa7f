from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from generative_toys import settings
from linear_toys import SEEN, TABLE, learnable, noise, task, trained
from zslkit_baselines.tfvaegan import TFVAEGAN
from zslkit_baselines.wgan import MLP, sum_of


def model(**changes: Any) -> TFVAEGAN:
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


def unit(q: np.ndarray) -> np.ndarray:
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def lower(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def test_the_feedback_is_added_to_the_generators_hidden_layer() -> None:
    m = model(a1=0.7, a2=0.3)
    z, a = noise(0, 4, 3).double(), m.attributes[[0, 1, 2, 4]]
    h = hidden(m.generator, z.numpy(), a.numpy())
    first = sigmoid(out(m.generator, h))
    heard = lower(out(m.feedback, hidden(m.feedback, hidden(m.decoder, first))))
    np.testing.assert_allclose(m.rebuilt(z, a).detach(), first)
    m.begin(0, 1, {})
    np.testing.assert_allclose(m.rebuilt(z, a).detach(), sigmoid(out(m.generator, h + 0.7 * heard)))
    np.testing.assert_allclose(m.make(z, a).detach(), sigmoid(out(m.generator, h + 0.3 * heard)))


@pytest.mark.parametrize("attribute_error", ["released", "paper"])
@pytest.mark.parametrize("number", [0, 1])
def test_the_generator_step_has_the_terms_of_the_equations(
    number: int, attribute_error: str
) -> None:
    m = model(gamma_g=3.0, recons_weight=0.5, attribute_error=attribute_error)
    m.begin(0, number, {})
    label = torch.tensor([0, 1, 2, 4, 1])
    x, a, e = noise(0, 5, 8).double().sigmoid(), m.attributes[label], noise(1, 5, 3).double()
    terms = m.vae_terms(x, a, e)
    before = lower(out(m.encoder.hidden, hidden(m.encoder.hidden, x.numpy(), a.numpy())))
    mu, v = (
        before @ part.weight.detach().numpy().T + part.bias.detach().numpy()
        for part in (m.encoder.mu, m.encoder.log_variance)
    )
    made = m.rebuilt(torch.from_numpy(mu + np.exp(v / 2) * e.numpy()), a).detach()
    real, fake = x.numpy(), made.numpy()
    d = np.abs(unit(out(m.decoder, hidden(m.decoder, fake))) - a.numpy())
    error = (d**3).sum(1) / np.sqrt((d**2).sum(1)) if attribute_error == "released" else d.sum(1)
    expected = {
        "divergence": (0.5 * (mu**2 + np.exp(v) - 1 - v)).sum() / 5,
        "reconstruction": -(real * np.log(fake) + (1 - real) * np.log(1 - fake)).sum() / 5,
        "generator": -3.0 * m.critic(made, a).detach().numpy().mean(),
        "attributes": 0.5 * error.mean(),
    }
    assert terms.keys() == expected.keys()
    for key, value in expected.items():
        assert terms[key].item() == pytest.approx(value, rel=1e-6), key


def test_the_weight_of_the_penalty_follows_the_penalty() -> None:
    m = model(penalty=10.0)
    for slope, weight in ((1.06, 11.0), (1.02, 11.0), (1.0, 10.0), (0.2, 10 / 1.1)):
        m.move_penalty(torch.tensor(slope))
        assert float(m.penalty) == pytest.approx(weight)
    fixed = model(penalty=10.0, adaptive_penalty=False)
    fixed.move_penalty(torch.tensor(0.2))
    assert float(fixed.penalty) == 10.0


def test_the_weight_of_the_penalty_is_kept_with_the_model() -> None:
    m = model()
    m.penalty.fill_(12.0)
    other = model()
    other.load_state_dict(m.state_dict())
    assert float(other.penalty) == 12.0


def test_the_classifier_sees_features_attributes_and_the_decoders_hidden_layer() -> None:
    m = model()
    x = noise(0, 4, 8).double()
    h = hidden(m.decoder, x.numpy())
    np.testing.assert_allclose(
        m.space(x).detach(), np.concatenate([x.numpy(), unit(out(m.decoder, h)), h], axis=1)
    )


def test_only_the_second_pass_trains_the_feedback_and_a_free_decoder_learns_from_made() -> None:
    given, view, _, _ = learnable()
    for frozen in (False, True):
        m = TFVAEGAN(settings("tfvaegan", freeze_dec=frozen), given)
        x, label = view.everything()
        optimizers = m.optimizers()
        for number in (0, 1):
            m.begin(0, number, optimizers)
            m.zero_grad(set_to_none=True)
            m.decoder.requires_grad_("decoder" in m.generator_moves())
            sum_of(
                m.generator_terms(
                    m.scaling(x).sigmoid(),
                    m.attributes[label],
                    label,
                    torch.Generator().manual_seed(0),
                )
            ).backward()
            assert (m.feedback.out.weight.grad is not None) == (number == 1)
            assert (m.decoder.out.weight.grad is None) == frozen


def test_made_features_start_at_the_mean_of_the_real_ones() -> None:
    given, view, _, _ = learnable()
    still = {"epochs": 1, "lr": 1e-12, "feed_lr": 1e-12, "dec_lr": 1e-12, "classifier__epochs": 1}
    m = trained(TFVAEGAN, settings("tfvaegan", **still), given, view)
    mean = m.scaling(view.x).mean(dim=0)
    made = m.made(noise(0, 50, 3), m.attributes[[0] * 50], None)
    torch.testing.assert_close(made.mean(dim=0), mean, atol=0.05, rtol=0)
    m = trained(TFVAEGAN, settings("tfvaegan", start_at_mean=False, **still), given, view)
    assert (
        float((m.made(noise(0, 50, 3), m.attributes[[0] * 50], None) - 0.5).detach().abs().max())
        < 0.05
    )
