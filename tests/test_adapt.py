"""A network and a loss of a script become a model: settings from the signature, labels as scripts
count, the whole contract."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from zslkit.adapt import wrap
from zslkit.model import Task
from zslkit.testing import parametrize_with_checks, tiny_inputs, tiny_task
from zslkit.testing.tiny import tiny_dataset


class Net(nn.Module):
    """As a script has it: channels in, class scores out."""

    def __init__(self, channels: int, attributes: Tensor, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.project = nn.Linear(channels, attributes.shape[1])
        self.register_buffer("attributes", attributes, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.project(self.drop(x.mean(dim=(2, 3)))) @ self.attributes.T
        return scores


def make(task: Task, dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1) -> nn.Module:
    """Averaged regions, projected onto attributes."""
    assert task.map_shape is not None
    return Net(task.map_shape[0], torch.from_numpy(task.attributes), dropout)


class Wrapped(wrap(make)):  # type: ignore[misc]
    inputs = ("map", "image")
    citation = "A script"


@parametrize_with_checks([Wrapped])
def test_a_wrapped_script_keeps_the_contract(check: Any) -> None:
    check()


def test_parameters_of_the_factory_are_typed_settings() -> None:
    assert Wrapped.Config().dropout == 0.1
    model = Wrapped(Wrapped.Config(dropout=0.5), tiny_task("map"))
    assert model.network.drop.p == 0.5
    assert "train" in Wrapped.Config.model_fields
    with pytest.raises(ValidationError):
        Wrapped.Config(dropout=1)


def the_loss_s_view(over: Any) -> tuple[Tensor, Tensor, Task, Tensor]:
    told: list[tuple[Tensor, Tensor]] = []

    def spy(scores: Tensor, label: Tensor) -> dict[str, Tensor]:
        told.append((scores, label))
        return {"one": scores.sum(), "two": scores.mean()}

    kind = wrap(make, spy, over=over)
    task, data = tiny_task("map"), tiny_dataset()
    model = kind(kind.Config(), task).eval()
    index = data.split.trainval[::6]  # one image of each seen class
    label = torch.from_numpy(data.labels[index])
    terms = model.loss(tiny_inputs(data, "map").source.batch(index), label)
    assert set(terms) == {"one", "two"}
    return *told[0], task, label


def test_the_loss_sees_seen_classes_numbered_from_0() -> None:
    scores, label, _, _ = the_loss_s_view("seen")
    assert scores.shape == (9, 9)
    assert sorted(label.tolist()) == list(range(9))


def test_the_loss_may_see_all_classes_by_their_ids() -> None:
    scores, label, task, ids = the_loss_s_view("all")
    assert scores.shape == (9, task.n_classes)
    assert torch.equal(label, ids)


def test_a_loss_that_is_a_module_is_each_model_s_own() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, scores: Tensor, label: Tensor) -> Tensor:
            return nn.functional.cross_entropy(self.scale * scores, label)

    kind = wrap(make, Scaled())
    one, other = (kind(kind.Config(), tiny_task("map")) for _ in range(2))
    assert "criterion.scale" in dict(one.named_parameters())
    with torch.no_grad():
        one.criterion.scale.zero_()
    assert float(other.criterion.scale.detach()) == 1


def test_a_parameter_without_type_or_default_and_a_taken_name_are_refused() -> None:
    def bare(task, width): ...  # type: ignore[no-untyped-def]

    def open_end(task: Task, width: int) -> nn.Module: ...  # type: ignore[empty-body]

    def taken(task: Task, train: int = 3) -> nn.Module: ...  # type: ignore[empty-body]

    for factory, words in (
        (bare, "width becomes a setting"),
        (open_end, "width becomes a setting"),
        (taken, "setting 'train' already"),
    ):
        with pytest.raises(TypeError, match=words):
            wrap(factory)
