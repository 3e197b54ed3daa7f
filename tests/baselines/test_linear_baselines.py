"""What holds for every linear baseline: the contract, the seed, the silence of unseen classes, and
features that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_toys import (
    SEEN,
    TABLE,
    accuracy_among_unseen,
    learnable,
    noise,
    random_view,
    task,
    trained,
)
from zslkit_baselines.ale import ALE
from zslkit_baselines.conse import CONSE
from zslkit_baselines.dap import DAP
from zslkit_baselines.devise import DeViSE
from zslkit_baselines.latem import LATEM
from zslkit_baselines.ridge import Ridge
from zslkit_baselines.sae import SAE
from zslkit_baselines.sje import SJE
from zslkit_baselines.sync import SYNC

from zslkit.config import TrainConfig
from zslkit.config.merge import nested
from zslkit.errors import TrainingError
from zslkit.model import GradientConfig, Model, ModelConfig, check_model

MODELS: dict[str, type[Model]] = {
    "ale": ALE,
    "conse": CONSE,
    "dap": DAP,
    "devise": DeViSE,
    "latem": LATEM,
    "ridge": Ridge,
    "sae": SAE,
    "sje": SJE,
    "sync": SYNC,
}
QUICK = TrainConfig(epochs=30, batch_size=10, optimizer="sgd", lr=0.1, weight_decay=0.0)


def config(kind: type[Model]) -> ModelConfig:
    return kind.Config(train=QUICK) if issubclass(kind.Config, GradientConfig) else kind.Config()


@pytest.fixture(params=MODELS)
def kind(request: pytest.FixtureRequest) -> type[Model]:
    return MODELS[request.param]


def test_it_keeps_the_contract() -> None:
    for name, kind in MODELS.items():
        assert check_model(name, kind) is kind
        assert kind.inputs == ("pooled",) and kind.protocol == "inductive" and kind.citation


def test_every_value_that_is_searched_is_allowed(kind: type[Model]) -> None:
    assert kind.search or kind.mixes
    for key, values in {**kind.search, **kind.mixes}.items():
        for value in values:
            kind.Config.model_validate(nested({key: value}))


def test_it_recognises_classes_it_has_never_seen(kind: type[Model]) -> None:
    given, view, x, label = learnable()
    assert accuracy_among_unseen(trained(kind, config(kind), given, view).scores(x), label) > 0.9


def test_the_same_seed_gives_the_same_scores(kind: type[Model]) -> None:
    given, view, x, _ = learnable()
    first, second = (trained(kind, config(kind), given, view).scores(x) for _ in range(2))
    assert torch.equal(first, second)


def test_what_is_kept_of_it_is_all_it_needs(kind: type[Model]) -> None:
    given, view, x, _ = learnable()
    model = trained(kind, config(kind), given, view)
    fresh = kind(config(kind), given)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.scores(x), model.scores(x))


def test_attributes_of_unseen_classes_do_not_enter_training(kind: type[Model]) -> None:
    _, view, _, _ = learnable()
    changed = TABLE.copy()
    changed[~np.array(SEEN)] = 7
    states = [
        trained(kind, config(kind), task(table, SEEN, 8), view).state_dict()
        for table in (TABLE, changed)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_an_image_scores_the_same_whatever_stands_beside_it(kind: type[Model]) -> None:
    given, view, x, _ = learnable()
    model = trained(kind, config(kind), given, view)
    torch.testing.assert_close(model.scores(x)[7:8], model.scores(x[7:8]), rtol=1e-4, atol=1e-4)


def test_one_feature_one_attribute_one_seen_class_is_a_task_too(kind: type[Model]) -> None:
    given = task(np.array([[1.0], [0.5], [0.2]]), [True, True, False], width=1)
    if kind is DAP:
        given = task(np.array([[1.0], [0.0], [0.2]]), [True, True, False], width=1)
    model = trained(kind, config(kind), given, random_view(0, 4, 1, [0, 1]))
    scores = model.scores(noise(1, 2, 1))
    assert scores.shape == (2, 3) and bool(torch.isfinite(scores).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused_by_image(kind: type[Model], bad: float) -> None:
    given, view, _, _ = learnable()
    view.x[3, 2] = bad
    name = next(n for n, k in MODELS.items() if k is kind)
    with pytest.raises(
        TrainingError,
        match=rf"^{name}: 1 of 80 training images have features that are not finite \(image 3 of",
    ):
        trained(kind, config(kind), given, view)
