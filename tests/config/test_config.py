"""Typed configuration in layers: what wins, and what a section that is given in part keeps."""

from __future__ import annotations

from pydantic import Field

from zslkit.config import Config, TrainConfig, build
from zslkit.config.merge import Layer, merge


class Inner(Config):
    a: int = 1
    b: dict[str, int] = Field({"x": 1})


class Outer(Config):
    train: TrainConfig = TrainConfig(epochs=40, optimizer="sgd")
    inner: Inner = Inner(a=7, b={"x": 7})


def of(*layers: dict[str, object]) -> Outer:
    return build(Outer, merge([Layer(values, "test") for values in layers]), "outer")


def test_a_section_given_in_part_keeps_the_default_of_its_owner() -> None:
    assert of({"train": {"lr": 0.5}}).train == TrainConfig(epochs=40, optimizer="sgd", lr=0.5)
    assert of({}).train == TrainConfig(epochs=40, optimizer="sgd")


def test_later_layers_win_key_by_key() -> None:
    assert of({"train": {"lr": 0.5, "epochs": 3}}, {"train": {"epochs": 4}}).train == TrainConfig(
        epochs=4, optimizer="sgd", lr=0.5
    )


def test_a_mapping_that_is_no_section_is_replaced_whole() -> None:
    assert of({"inner": {"b": {"y": 2}}}).inner == Inner(a=7, b={"y": 2})
