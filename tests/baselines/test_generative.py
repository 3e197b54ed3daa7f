"""What holds for every generative baseline: the contract, the seed, resuming, the final classifier,
and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generative_toys import MODELS, settings
from linear_toys import SEEN, TABLE, View, accuracy_among_unseen, learnable, noise, task, trained
from sklearn.linear_model import LogisticRegression
from torch import nn
from zslkit_baselines.generative import SoftmaxConfig, UnitRange, train_softmax, zeroed

from zslkit.errors import TrainingError
from zslkit.model import check_model
from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


a_quick_one_and_slow_others = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("tfvaegan", "cegzsl") else [])
        for name in MODELS
    ],
)


def loop(log: Any = None, path: Path | None = None, seed: int = 0) -> Loop:
    return Loop(
        seed=seed,
        device=torch.device("cpu"),
        reporter=Silent(),
        log=log or (lambda **_: None),
        checkpoint_path=path,
    )


def test_it_keeps_the_contract(name: str) -> None:
    kind = MODELS[name]
    assert check_model(name, kind) is kind
    assert kind.inputs == ("pooled",) and kind.protocol == "class-inductive" and kind.citation


@pytest.mark.slow
def test_it_recognises_classes_it_has_never_seen(name: str) -> None:
    given, view, x, label = learnable()
    model = trained(MODELS[name], settings(name), given, view)
    # Two unseen classes: chance is a half. How far above it ends depends on rounding, and so on the
    # number of threads.
    assert accuracy_among_unseen(model.scores(x), label) > 0.7
    seen, known = view.everything()
    assert float((model.scores(seen).argmax(dim=1) == known).float().mean()) > 0.8


@a_quick_one_and_slow_others
def test_seeds_decide_and_nothing_else_does(name: str) -> None:
    given, view, x, _ = learnable()
    config = settings(name, epochs=2, classifier__epochs=2)
    torch.manual_seed(0)
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(0)
        model = MODELS[name](config, given)
        torch.manual_seed(len(states))  # the generator that all share must not matter
        model.fit(view, loop(seed=seed))
        states.append(model.scores(x))
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


@a_quick_one_and_slow_others
def test_an_interrupted_training_ends_at_the_same_bit(name: str, tmp_path: Path) -> None:
    given, view, _, _ = learnable()
    config = settings(name, epochs=3, classifier__epochs=2)

    def made() -> Any:
        torch.manual_seed(0)
        return MODELS[name](config, given)

    whole = made()
    lines: list[dict[str, Any]] = []
    whole.fit(view, loop(lambda **values: lines.append(values)))
    path, attempts = tmp_path / "checkpoint.pt", 0
    while True:
        told: list[str] = []

        def stop(told: list[str] = told, **values: Any) -> None:
            told.append(values["stage"])
            if len(told) == 2:
                raise KeyboardInterrupt

        again, attempts = made(), attempts + 1
        try:
            again.fit(view, loop(stop, path))
            break
        except KeyboardInterrupt:
            assert attempts < len(lines)
    assert attempts == len(lines), (
        "each attempt adds the one epoch that is kept before the interruption"
    )
    state, other = whole.state_dict(), again.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)


def test_what_is_kept_of_it_is_all_it_needs(name: str) -> None:
    given, view, x, _ = learnable()
    config = settings(name, epochs=1, classifier__epochs=1)
    model = trained(MODELS[name], config, given, view)
    fresh = MODELS[name](config, given)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.scores(x), model.scores(x))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused_by_image(name: str, bad: float) -> None:
    given, view, _, _ = learnable()
    view.x[3, 2] = bad
    with pytest.raises(
        TrainingError,
        match=rf"^{name}: 1 of 80 training images have features that are not finite \(image 3 of",
    ):
        trained(MODELS[name], settings(name), given, view)


def test_a_training_that_diverges_stops_with_term_and_epoch_and_what_to_set(name: str) -> None:
    given, view, _, _ = learnable()
    with pytest.raises(
        TrainingError,
        match=r"The loss term \w+ is (nan|-?inf) in epoch \d+, step \d+ of the stage (gan|vae); "
        r"lower lr",
    ):
        trained(MODELS[name], settings(name, lr=1e18), given, view)


def test_one_feature_one_attribute_one_seen_class_is_a_task_too(name: str) -> None:
    given = task(np.array([[1.0], [0.5], [0.2]]), [True, False, False], width=1)
    model = trained(
        MODELS[name],
        settings(name, epochs=1),
        given,
        View(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64)),
    )
    scores = model.scores(noise(1, 2, 1))
    assert scores.shape == (2, 3) and bool(torch.isfinite(scores).all())


def test_features_are_brought_to_the_unit_range_by_training_images_alone() -> None:
    scaling = UnitRange(3)
    scaling.measure(torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, 0.0]]))
    found = scaling(torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 2.0], [5.0, 6.0, 1.0]]))
    assert found.tolist() == [[0, 0, 0], [1, 0, 1], [2, 1, 0.5]]


def test_the_classifier_ends_where_logistic_regression_does() -> None:
    rng = np.random.default_rng(0)
    target = np.repeat([0, 1, 2], 20)
    x = (np.eye(3)[target] @ rng.normal(size=(3, 4)) * 2 + 0.3 * rng.normal(size=(60, 4))).astype(
        np.float32
    )
    decay = 0.05
    # scikit-learn minimises C * the sum of cross entropies + ||W||^2 / 2, so C = 1 / (N * decay)
    known = LogisticRegression(C=1 / (60 * decay), tol=1e-8, max_iter=1000).fit(x, target)
    classifier = zeroed(nn.Linear(4, 3))
    config = SoftmaxConfig(epochs=250, batch_size=1000, lr=0.03, decay=decay)
    random = torch.Generator().manual_seed(0)
    train_softmax(
        classifier,
        torch.from_numpy(x),
        torch.from_numpy(target),
        config,
        loop(),
        random,
        "classifier",
    )
    shares = classifier(torch.from_numpy(x)).softmax(dim=1).detach().numpy()
    assert (shares.argmax(axis=1) == known.predict(x)).all()
    np.testing.assert_allclose(shares, known.predict_proba(x), atol=0.03)


def test_unseen_classes_of_the_table_shape_the_classifier(name: str) -> None:
    _, view, x, _ = learnable()
    changed = TABLE.copy()
    changed[3] = [0.1, 0.9, 0.3]
    config = settings(name, epochs=1, classifier__epochs=1)
    one, other = (
        trained(MODELS[name], config, task(table, SEEN, 8), view).scores(x)
        for table in (TABLE, changed)
    )
    assert not torch.equal(one, other)
