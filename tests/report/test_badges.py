"""Every number says how it was made, and the same in words and as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from run_folders import UNLABELLED

from zslkit.record import RunRecord
from zslkit.report.badges import (
    KINDS,
    ON_TEST,
    ORACLE,
    Badges,
    badges_of,
    badges_of_published,
    picked_on_test,
)
from zslkit.report.published import Published, everything

Make = Callable[..., RunRecord]


def test_the_marks_of_a_run_by_hand(make: Make) -> None:
    made = badges_of(
        make(
            protocol={
                "training": "class-inductive",
                "calibration": "validation",
                "gamma": 0.7,
                "folds": 3,
                "tuned": ["lr"],
            }
        )
    )
    assert made == Badges(
        protocol="class-inductive",
        selection="last",
        calibration="validation",
        backbone="resnet101.tv_in1k",
        trained="frozen",
        resolution="224 px",
        split="5011" * 4,
        semantics="attributes " + "5e3a" * 4,
        input="map",
        settings=True,
        folds=3,
    )
    words = (
        "class-inductive",
        "last epoch",
        "settings picked on validation",
        "gamma picked on validation",
        "3 validation folds",
    )
    assert made.words == (*words, "backbone frozen")
    assert made.every_word == (
        *words,
        "resnet101.tv_in1k",
        "backbone frozen",
        "224 px",
        "split 50115011",
        "map",
        "attributes 5e3a5e3a",
    )


def test_a_model_that_is_linear_on_frozen_features_says_so_and_why(make: Make) -> None:
    made = badges_of(make(model={"linear": True}))
    (mark,) = (mark for mark in made.marks() if mark.kind == "linear")
    assert mark.text == "frozen: linear" and "one linear map" in mark.explanation
    assert made.words[-2:] == ("backbone frozen", "frozen: linear")
    assert "frozen: linear" not in badges_of(make()).every_word


def test_scores_that_move_with_the_batch_are_told_beside_the_figures(make: Make) -> None:
    said = {"rescored": 16, "moved": 1, "drift": 0.002}
    assert badges_of(make(scoring=said)).notes == ("scores change by up to 0.2% with the batch",)
    assert badges_of(make(scoring=said | {"moved": 0, "drift": 1e-6})).notes == ()


@pytest.mark.parametrize(
    ("change", "kind", "value"),
    [
        ({"features": {"tuned": True}}, "trained", "tuned"),
        ({"features": {"size": [48, 112]}}, "resolution", "48x112 px"),
        ({"features": {"backbone": "as given"}}, "backbone", "as given"),
        ({"features": {"size": None}}, "resolution", "as it comes"),
        ({"elsewhere": "released weights"}, "selection", "trained elsewhere"),
        ({"protocol": {"training": "transductive"}}, "protocol", "transductive"),
        ({"model": {"pretraining_note": "saw birds"}}, "notes", ["saw birds"]),
        ({"model": {"linear": True}}, "linear", True),
    ],
)
def test_each_difference_has_its_mark(
    make: Make, change: dict[str, Any], kind: str, value: Any
) -> None:
    data = badges_of(make(**change)).as_data()
    assert data[kind] == value
    assert [key for key in data if data[key] != badges_of(make()).as_data()[key]] in (
        [kind],
        ["backbone", "resolution"],
    )
    assert json.loads(json.dumps(data)) == data


def test_marks_stand_in_one_order_and_those_of_one_word_have_a_meaning(make: Make) -> None:
    marks = badges_of(make()).marks()
    assert [mark.kind for mark in marks] == sorted((mark.kind for mark in marks), key=KINDS.index)
    assert all(
        mark.explanation
        for mark in marks
        if mark.kind in ("protocol", "selection", "calibration", "trained", "input")
    )


def test_what_is_picked_on_test_says_so_and_changes_nothing_else(make: Make) -> None:
    made = badges_of(make(protocol={"calibration": "validation", "gamma": 0.7}))
    by_epoch, by_gamma = picked_on_test(made, epoch=True), picked_on_test(made, gamma=True)
    assert (
        (by_epoch.selection, by_epoch.calibration)
        == (ON_TEST, "none")
        == ("test (as papers do)", "none")
    )
    assert (by_gamma.selection, by_gamma.calibration) == ("last", ORACLE)
    assert "epoch: test (as papers do)" in by_epoch.words
    assert "gamma: oracle" in by_gamma.words
    assert all("no result" in next(m.explanation for m in row.marks() if m.text in words) for row,
        words in (
        (by_epoch, ["epoch: test (as papers do)"]), (by_gamma, ["gamma: oracle"])
    ))  # fmt: skip


def test_no_record_can_say_that_it_was_picked_on_test(make: Make) -> None:
    for protocol in ({"selection": ON_TEST}, {"selection": "test"}, {"calibration": ORACLE}):
        with pytest.raises(ValueError, match="Input should be"):
            make(protocol=protocol)


def test_a_published_row_says_what_is_known_and_leaves_open_what_is_not() -> None:
    plain = Published(
        method="M", dataset="cub", input="end to end", T1=1, U=2, S=3, H=2.4, **UNLABELLED
    )
    made = badges_of_published(plain)
    assert made.unknown == ("protocol", "selection", "calibration", "resolution", "split")
    assert [made.as_data()[kind] for kind in made.unknown] == ["unknown"] * 5
    assert made.every_word == ("ResNet-101", "backbone tuned", "end to end")
    assert (made.backbone, made.trained) == ("ResNet-101", "tuned")
    known = {(entry.method, entry.dataset): badges_of_published(entry) for entry in everything()}
    assert known["DEDN", "cub"].selection == ON_TEST
    assert known["ESZSL", "cub"].protocol == "inductive"
    assert {entry.calibration for entry in everything()} == {"none", "constant", "unknown"}
    constant = known["APN", "cub"]
    assert "gamma: a constant" in constant.words and constant.unknown == ("split",)
    assert next(mark.explanation for mark in constant.marks() if mark.kind == "calibration")
