"""How a model's own config becomes one of a short training, and what counts as the same model."""

from __future__ import annotations

import torch

from zslkit.config import Config, TrainConfig
from zslkit.model import GradientConfig, ModelConfig
from zslkit.testing.bench import difference, shortened


class Encoder(Config):
    width: int = 64
    vae_epochs: int = 100


class OwnLoop(ModelConfig):
    epochs: int = 50
    few_epochs: int = 1
    share_of_epochs: float = 0.5
    encoder: Encoder = Encoder()


class WarmUp(GradientConfig):
    warmup_epochs: int = 30
    train: TrainConfig = TrainConfig(epochs=80)


def test_a_model_that_trains_itself_has_its_epochs_lowered_at_any_depth() -> None:
    assert shortened(OwnLoop(), 2) == {"epochs": 2, "encoder": {"vae_epochs": 2}}


def test_a_warm_up_ends_before_the_loop_does() -> None:
    assert shortened(WarmUp(), 20) == {
        "warmup_epochs": 5,
        "train": {"epochs": 20, "steps_per_epoch": 5, "batch_size": 18},
    }
    assert shortened(WarmUp(), 2)["warmup_epochs"] == 1


def test_states_differ_by_one_bit_by_shape_and_by_name() -> None:
    one = {"W": torch.ones(3), "b": torch.tensor([float("nan")])}
    assert difference(one, {k: v.clone() for k, v in one.items()}) == ""
    assert (
        difference(one, {**one, "W": torch.nextafter(torch.ones(3), torch.tensor(2.0))})
        == "W of 2 differ"
    )
    assert difference(one, {**one, "W": torch.ones(4)}) == "W of 2 differ"
    assert "b is kept of one" in difference(one, {"W": one["W"]})
