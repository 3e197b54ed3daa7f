"""What every model with attention over attributes must do, whatever its equations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attention_task import LABEL, SEEN, A, C, D, H, W, task
from torch import Tensor, nn
from zslkit_baselines.gem import GEMZSL
from zslkit_baselines.msdn import MSDN
from zslkit_baselines.transzero import TransZero

from zslkit.errors import UserError
from zslkit.model import GradientModel, check_model
from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent

MODELS: dict[str, type[GradientModel]] = {"msdn": MSDN, "transzero": TransZero, "gemzsl": GEMZSL}
every_model = pytest.mark.parametrize("name", MODELS)


def make(
    name: str,
    images: bool = False,
    words: bool = True,
    shape: tuple[int, int, int] | None = (D, H, W),
    **settings: Any,
) -> Any:
    """In float64, and where training would start from 0 it does not."""
    torch.manual_seed(0)
    kind = MODELS[name]
    made = kind(kind.Config(**settings), task(words, images, shape)).double().eval()
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return made


@every_model
def test_it_keeps_the_contract(name: str) -> None:
    kind = MODELS[name]
    assert check_model(name, kind) is kind
    assert {"map", "image"} <= set(kind.inputs)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("msdn", "class-inductive"), ("transzero", "class-inductive"), ("gemzsl", "inductive")],
)
def test_its_protocol_says_whether_unseen_semantics_enter_the_loss(
    name: str, protocol: str, x: Tensor
) -> None:
    made, other = make(name), make(name)
    other.attributes[~other.seen] = 9.0
    same = all(
        torch.equal(term, other.loss(x, LABEL)[key]) for key, term in made.loss(x, LABEL).items()
    )
    assert same == (protocol == "inductive") and made.protocol == protocol


@every_model
def test_scores_stand_for_all_classes_and_attention_for_all_attributes(
    name: str, x: Tensor
) -> None:
    made = make(name)
    assert made.scores(x).shape == (4, C)
    for part in made.attention(x).values():
        assert part.maps.shape == (4, A, H, W) and part.scores.shape == (4, A)


@every_model
def test_the_score_of_an_image_does_not_depend_on_its_batch(name: str, x: Tensor) -> None:
    made = make(name)
    alone = torch.cat([made.scores(image[None]) for image in x])
    assert torch.allclose(made.scores(x), alone, rtol=1e-9)
    assert torch.allclose(made.scores(x.flip(0)).flip(0), alone, rtol=1e-9)


@every_model
def test_every_gradient_is_finite_and_none_is_missing(name: str) -> None:
    made = make(name, images=True)
    images = torch.randn(4, 3, 2 * H, 2 * W, dtype=torch.float64)
    sum(made.loss(images, LABEL).values()).backward()
    for key, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        # A shift of all alike does not move a softmax: biases of keys, and of geometry that no relu
        # cuts off, have nothing to learn.
        assert parameter.grad.abs().max() > 0 or key.endswith(("K.bias", "geometry.bias")), key


@every_model
def test_a_flat_map_has_finite_gradients(name: str) -> None:
    made = make(name)
    sum(made.loss(torch.zeros(4, D, H, W, dtype=torch.float64), LABEL).values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


@every_model
def test_word_vectors_can_start_at_random(name: str, x: Tensor) -> None:
    assert make(name, words=False, word_vectors="random", word_dim=7).scores(x).shape == (4, C)


@every_model
def test_missing_word_vectors_name_the_way_on(name: str) -> None:
    with pytest.raises(
        UserError, match=f"made-up has no word vectors .* {name} .* word_vectors=random"
    ):
        make(name, words=False)


@every_model
def test_pooled_features_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"feature maps.*features\.input=map"):
        make(name, shape=None)


class Photos:
    """Twelve maps of the seen classes."""

    def __init__(self) -> None:
        self.labels = np.tile(np.flatnonzero(SEEN), 4)
        self.maps = torch.randn(12, D, H, W, generator=torch.Generator().manual_seed(5))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: np.ndarray) -> Tensor:
        return self.maps[torch.from_numpy(index)]

    def everything(self) -> tuple[Tensor, Tensor]:
        return self.maps, torch.from_numpy(self.labels)


class Stop:
    """Ends a training after its first epoch, as an interruption would."""

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        return epoch == 1


@every_model
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(name: str, tmp_path: Path) -> None:
    def trained(path: Path, stop: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        kind = MODELS[name]
        made = kind(kind.Config(train={"epochs": 3, "batch_size": 4, "lr": 1e-2}), task())
        train: Callable[..., None] = Loop(
            seed=0,
            device=torch.device("cpu"),
            reporter=Silent(),
            log=lambda **_: None,
            checkpoint_path=path,
            observer=Stop() if stop else None,
        ).train
        train(made, Photos())
        return made.state_dict()

    whole = trained(tmp_path / "whole.pt", stop=False)
    stopped = trained(tmp_path / "parts.pt", stop=True)
    resumed = trained(tmp_path / "parts.pt", stop=False)
    assert any(not torch.equal(whole[key], stopped[key]) for key in whole)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
