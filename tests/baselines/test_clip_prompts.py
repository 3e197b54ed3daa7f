"""What CLIP is told of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from zslkit_baselines.clip_prompts import attribute_prompts, name_prompts, readable

from zslkit.datasets.attribute_names import shipped_card
from zslkit.errors import DataError, UserError

PRESETS = Path(__file__).parents[2] / "baselines" / "presets" / "clip"
TABLE = np.array([[0.2, 0.9, 0.0], [0.5, 0.5, 0.1]], dtype=np.float32)
NAMES = ("has_bill_shape::curved_(up_or_down)", "longneck", "man-made")


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("001.Black_footed_Albatross", "black footed albatross"),
        ("grizzly+bear", "grizzly bear"),
        ("airplane_cabin", "airplane cabin"),
        ("b/bow_window/indoor", "b bow window indoor"),
        ("lean-to", "lean-to"),
        ("  Two   Blanks ", "two blanks"),
        ("042", "042"),
        ("3.5", "3.5"),
        ("747-400", "747-400"),
    ],
)
def test_class_names_are_read_as_people_write_them(name: str, spoken: str) -> None:
    assert readable(name) == spoken


def test_every_class_has_a_sentence_from_each_template_in_their_order() -> None:
    prompts = name_prompts(["001.Emu", "Blue_Jay"], ["a photo of a {}.", "{} in the wild"])
    assert prompts == [
        ("a photo of a emu.", "emu in the wild"),
        ("a photo of a blue jay.", "blue jay in the wild"),
    ]


def test_a_name_with_braces_is_put_in_as_it_is() -> None:
    assert name_prompts(["{0} {} x"], ["<{}>"]) == [("<{0} {} x>",)]


def test_classes_that_read_the_same_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"'001\.Emu' and '002\.emu' both read 'emu'"):
        name_prompts(["001.Emu", "Jay", "002.emu"], ["{}"])


def test_attributes_are_told_strongest_first_and_of_equal_ones_the_first() -> None:
    prompts = attribute_prompts(
        TABLE, ["a", "b"], NAMES, ["something with {}."], 2, {"longneck": "long neck"}
    )
    assert prompts == [
        ("something with long neck, bill shape curved up or down.",),
        ("something with bill shape curved up or down, long neck.",),
    ]


def test_no_attribute_is_told_that_a_class_does_not_have() -> None:
    assert attribute_prompts(TABLE, ["a", "b"], NAMES, ["{}"], 3, {})[0] == (
        "longneck, bill shape curved up or down",
    )
    with pytest.raises(UserError, match="'none' has no attribute above zero"):
        attribute_prompts(np.zeros((1, 3), dtype=np.float32), ["none"], NAMES, ["{}"], 3, {})


def test_attributes_without_words_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"names in words, and here they are 'sentence 1'.*prompts=names"
    ):
        attribute_prompts(
            TABLE, ["a", "b"], ("sentence 1", "sentence 2", "sentence 3"), ["{}"], 2, {}
        )


def test_words_for_an_attribute_that_is_not_there_are_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match='did you mean "longneck"'):
        attribute_prompts(TABLE, ["a", "b"], NAMES, ["{}"], 2, {"longnek": "long neck"})


@pytest.mark.parametrize(("preset", "card"), [("cub", "CUB"), ("cub2010", "CUB"), ("awa2", "AWA2")])
def test_presets_say_attributes_in_the_words_of_the_cards(preset: str, card: str) -> None:
    known = shipped_card(card)
    assert known is not None
    assert (
        yaml.safe_load((PRESETS / f"{preset}.yaml").read_text(encoding="utf-8"))["attribute_words"]
        == known.words
    )


def test_birds_are_told_as_birds() -> None:
    for preset in ("cub", "cub2010"):
        settings = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text(encoding="utf-8"))
        assert settings["templates"] == ["a photo of a {}, a type of bird."]
