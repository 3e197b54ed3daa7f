from __future__ import annotations

import numpy as np
import torch
from generative_toys import settings
from linear_toys import SEEN, TABLE, learnable, noise, task, trained
from zslkit_baselines.fclswgan import FCLSWGAN


def test_the_generator_step_is_the_critic_and_the_cross_entropy_of_the_seen_classes() -> None:
    model = FCLSWGAN(settings("fclswgan", beta=0.3), task(TABLE, SEEN, width=8))
    torch.nn.init.normal_(model.seen_classifier.weight)
    label = torch.tensor([0, 1, 2, 4])  # places 0, 1, 2, 3 among the seen classes
    a = model.attributes[label]
    terms = model.generator_terms(noise(0, 4, 8), a, label, torch.Generator().manual_seed(1))
    made = model.make(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), a)
    logits = model.seen_classifier(made).detach().double().numpy()
    by_hand = np.mean([np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(logits)])
    torch.testing.assert_close(terms["generator"], -model.critic(made, a).mean())
    np.testing.assert_allclose(terms["classification"].item(), 0.3 * by_hand, rtol=1e-5)
    assert set(terms) == {"generator", "classification"}


def test_the_seen_classifier_is_trained_first_and_then_stays() -> None:
    given, view, _, _ = learnable()
    short, long = (
        trained(FCLSWGAN, settings("fclswgan", epochs=epochs), given, view) for epochs in (1, 3)
    )
    assert torch.equal(short.seen_classifier.weight, long.seen_classifier.weight)
    x, label = view.everything()
    assert bool(
        (short.column[label] == short.seen_classifier(short.scaling(x)).argmax(dim=1)).all()
    )
    assert not torch.equal(short.generator.out.weight, long.generator.out.weight)


def test_made_features_are_never_below_zero() -> None:
    model = FCLSWGAN(settings("fclswgan"), task(TABLE, SEEN, width=8))
    torch.nn.init.normal_(model.generator.out.weight)
    assert float(model.make(noise(0, 50, 3), model.attributes[[0] * 50]).detach().min()) == 0
