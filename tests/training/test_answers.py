"""Class scores and attribute scores in one pass: asked for where they are offered, and never where
they would be another model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zslkit.errors import TrainingError
from zslkit.model import Model, ModelConfig, Task, Trainer, TrainingView
from zslkit.testing import check_model, tiny_dataset, tiny_inputs, tiny_task
from zslkit.training.scoring import answer_rows, answers_last, attribute_table, score_rows

CPU = torch.device("cpu")
DATA = tiny_dataset()
SOURCE = tiny_inputs(DATA).source
INDEX = np.array([90, 3, 57, 3, 100])


class Plain(Model):
    """Counts its calls; predicts no attributes."""

    inputs = ("pooled",)
    citation = "nobody"

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("W", torch.zeros(16, task.n_attributes))
        self.calls: list[str] = []

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        self.W.copy_(torch.linalg.lstsq(x, self.attributes[label]).solution)

    def scores(self, x: Tensor) -> Tensor:
        self.calls.append("scores")
        return x @ self.W @ self.attributes.T


class Two(Plain):
    def predicted_attributes(self, x: Tensor) -> Tensor | None:
        self.calls.append("attributes")
        return x @ self.W


class One(Two):
    def answers(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        self.calls.append("answers")
        return x @ self.W @ self.attributes.T, x @ self.W


class Twice(One):
    """Overrides `scores` below `answers`, which would give the scores of the class above."""

    def scores(self, x: Tensor) -> Tensor:
        return 2 * super().scores(x)


class Wrong(Two):
    def answers(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return 3 * x @ self.W @ self.attributes.T, x @ self.W


class Silent(Two):
    def answers(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return x @ self.W @ self.attributes.T, None


class Narrow(Two):
    def answers(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return x @ self.W @ self.attributes.T, (x @ self.W)[:, 1:]


def made(kind: type[Plain]) -> Any:
    model: Any = kind(ModelConfig(), tiny_task("pooled", ModelConfig()))
    model.W.copy_(torch.randn(16, 12, generator=torch.Generator().manual_seed(0)))
    return model


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        (Plain, ["scores"]),
        (Two, ["scores", "attributes"]),
        (One, ["answers"]),
        (Twice, ["scores", "attributes"]),
    ],
)
def test_a_model_is_asked_once_for_each_image_and_by_its_last_word(
    kind: type[Plain], calls: list[str]
) -> None:
    model = made(kind)
    rows, attributes = answer_rows(model, SOURCE, INDEX, CPU)
    assert model.calls == calls
    places = np.arange(len(INDEX))
    np.testing.assert_array_equal(
        rows.take(places), score_rows(model, SOURCE, INDEX, CPU).take(places)
    )
    told = attribute_table(model, SOURCE, INDEX, CPU)
    assert (attributes is None) == (told is None) == (kind is Plain)
    if attributes is not None and told is not None:
        np.testing.assert_array_equal(attributes.take(places), told)


def test_answers_count_only_if_nothing_below_them_is_overridden() -> None:
    assert [answers_last(kind) for kind in (Plain, Two, One, Twice)] == [False, False, True, False]


def test_an_answer_of_another_shape_is_named() -> None:
    with pytest.raises(TrainingError, match=r"predicted_attributes gave \(5, 11\) for 5 images"):
        answer_rows(made(Narrow), SOURCE, INDEX, CPU)


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        (Two, "skipped", "two passes"),
        (One, "passed", ""),
        (Twice, "passed", "not used"),
        (Wrong, "failed", "the scores of answers are up to"),
        (Silent, "failed", "do not both have attribute scores"),
    ],
)
def test_the_check_compares_answers_with_the_two(
    kind: type[Plain], status: str, message: str
) -> None:
    result = check_model(kind, only=["answers_in_one_pass"], raise_=False)[-1]
    assert result.status == status and message in result.message


def test_scores_of_answers_that_differ_from_scores_end_a_run(tmp_path: Any) -> None:
    from zslkit.training.rescoring import rescore

    model = made(Wrong)
    index = np.arange(60, 100)
    rows, _ = answer_rows(model, SOURCE, index, CPU)
    assert rescore(model, SOURCE, index, rows, CPU).broken


def test_a_submodule_called_answers_is_a_plugin_s_own_matter() -> None:
    class Named(Two):
        def __init__(self, config: Any, task: Task) -> None:
            super().__init__(config, task)
            self.__dict__["answers"] = nn.Identity()

    model = made(Named)
    answer_rows(model, SOURCE, INDEX, CPU)
    assert model.calls == ["scores", "attributes"]
