from __future__ import annotations

import numpy as np
import pytest
import torch
from generative_toys import settings
from linear_toys import SEEN, TABLE, learnable, noise, random_view, task, trained
from zslkit_baselines.cadavae import CADAVAE, Encoder, WarmUp, first_images

from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent


def posterior(encoder: Encoder, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and logarithm of the variance in numpy."""
    means, logs = (
        by_hand(torch.nn.Sequential(encoder.hidden, out), x)
        for out in (encoder.mu, encoder.log_variance)
    )
    return means, logs


def by_hand(layers: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """Two layers with a rectifier between, in numpy."""
    (W, b), (V, c) = [
        (m.weight.detach().numpy(), m.bias.detach().numpy())
        for m in layers.modules()
        if isinstance(m, torch.nn.Linear)
    ]
    return np.maximum(x @ W.T + b, 0) @ V.T + c


@pytest.mark.parametrize("noise_as", ["released", "textbook"])
def test_the_terms_are_those_of_the_equations(noise_as: str) -> None:
    torch.manual_seed(0)
    model = CADAVAE(
        settings("cadavae", latent=2, noise=noise_as), task(TABLE, SEEN, width=8)
    ).double()
    x, a = noise(0, 5, 8).double(), model.attributes[[0, 1, 2, 4, 0]]
    (mu_x, v_x), (mu_a, v_a) = (
        posterior(model.encode_x, x.numpy()),
        posterior(model.encode_a, a.numpy()),
    )
    random = torch.Generator().manual_seed(7)
    drawn = tuple(model.noise(5, random).double() for _ in range(2))
    assert drawn[0].shape == (5, 1 if noise_as == "released" else 2)
    spread = 1 if noise_as == "released" else 2
    z_x, z_a = (
        mu_x + np.exp(v_x / spread) * drawn[0].numpy(),
        mu_a + np.exp(v_a / spread) * drawn[1].numpy(),
    )

    def error(decoder: torch.nn.Module, z: np.ndarray, target: torch.Tensor) -> float:
        return float(np.abs(by_hand(decoder, z) - target.numpy()).sum())

    terms = model.terms(x, a, drawn)
    expected = {
        "reconstruction": error(model.decode_x, z_x, x) + error(model.decode_a, z_a, a),
        "cross": error(model.decode_x, z_a, x) + error(model.decode_a, z_x, a),
        "divergence": sum(
            float((0.5 * (m**2 + np.exp(v) - 1 - v)).sum()) for m, v in ((mu_x, v_x), (mu_a, v_a))
        ),
        "alignment": float(
            np.sqrt(
                ((mu_x - mu_a) ** 2).sum(1) + ((np.exp(v_x / 2) - np.exp(v_a / 2)) ** 2).sum(1)
            ).sum()
        ),
    }
    assert terms.keys() == expected.keys()
    for key, value in expected.items():
        assert terms[key].item() == pytest.approx(value, rel=1e-6), key


def test_terms_without_weight_are_not_computed_and_the_others_stay() -> None:
    model = CADAVAE(settings("cadavae"), task(TABLE, SEEN, width=8))
    x, a = noise(0, 5, 8), model.attributes[[0, 1, 2, 4, 0]]
    drawn = noise(1, 5, 1), noise(2, 5, 1)
    every, few = (model.terms(x, a, drawn, skip) for skip in ((), ("cross", "alignment")))
    assert few == {key: every[key] for key in ("reconstruction", "divergence")}


@pytest.mark.parametrize(
    ("epoch", "weights"),
    [
        (0, (0, 0, 0)),
        (6, (0.25 * 6 / 93, 0, 0)),
        (14, (0.25 * 14 / 93, 0, 8.13 / 2)),
        (48, (0.25 * 48 / 93, 2.37 / 2, 8.13)),
        (93, (0.25, 2.37, 8.13)),
        (99, (0.25, 2.37, 8.13)),
    ],
)
def test_the_weights_of_the_paper_warm_up_over_its_epochs(
    epoch: int, weights: tuple[float, ...]
) -> None:
    warm_ups = CADAVAE(CADAVAE.Config(), task(TABLE, SEEN, width=8)).warm_ups
    found = [warm_ups[key].at(epoch) for key in ("divergence", "cross", "alignment")]
    assert found == pytest.approx(weights)


def test_a_warm_up_without_length_is_a_step() -> None:
    warm_up = WarmUp(factor=3, start=4, end=4)
    assert [warm_up.at(epoch) for epoch in (3, 4, 5)] == [0, 3, 3]


def test_weights_of_an_epoch_decide_which_terms_are_logged() -> None:
    given, view, _, _ = learnable()
    log: list[dict[str, float]] = []
    model = CADAVAE(
        settings(
            "cadavae", epochs=4, cross__start=2, cross__end=4, alignment__start=0, alignment__end=1
        ),
        given,
    )
    model.fit(
        view,
        Loop(
            seed=0,
            device=torch.device("cpu"),
            reporter=Silent(),
            log=lambda **values: log.append(values),
        ),
    )
    vae = [line for line in log if line["stage"] == "vae"]
    assert ["cross" in line for line in vae] == [False, False, False, True]
    assert ["alignment" in line for line in vae] == [False, True, True, True]
    assert all("reconstruction" in line for line in vae)


def test_latents_have_the_right_counts_and_come_from_images_or_attributes() -> None:
    given, view, _, _ = learnable()
    model = CADAVAE(settings("cadavae", seen_latents=3, unseen_latents=5), given)
    with torch.no_grad():
        model.encode_x.mu.bias[:], model.encode_a.mu.bias[:] = 100.0, -100.0
    x, label = view.everything()
    inputs, target = model.lesson(x, label, torch.Generator().manual_seed(0))
    assert target.tolist() == [k for k in (0, 1, 2, 4) for _ in range(3)] + [
        k for k in (3, 5) for _ in range(5)
    ]
    assert bool((inputs[:12] > 0).all()) and bool((inputs[12:] < 0).all())


def test_a_class_gives_its_first_images_in_order_and_over_again() -> None:
    label = torch.tensor([4, 0, 4, 2, 0, 4])
    wanted = torch.tensor([0, 0, 0, 2, 2, 4, 4])
    assert first_images(label, wanted).tolist() == [1, 4, 1, 3, 3, 0, 2]


def test_a_test_image_is_answered_at_the_mean_of_its_posterior() -> None:
    model = trained(
        CADAVAE,
        settings("cadavae", epochs=1),
        task(TABLE, SEEN, 8),
        random_view(0, 20, 8, [0, 1, 2, 4]),
    )
    x = noise(1, 3, 8)
    torch.testing.assert_close(
        model.scores(x), model.classifier(model.encode_x(model.scaling(x))[0])
    )
