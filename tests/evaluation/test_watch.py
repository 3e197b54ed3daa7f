"""What a watched training would print if it were picked on test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from zslkit.evaluation.watch import TestWatch, affordable


def test_the_best_t1_and_the_best_h_have_an_epoch_each() -> None:
    watch = TestWatch(lambda model: pytest.fail("nothing is scored"), every=5)
    rows: list[dict[str, Any]] = [
        {"epoch": 5.0, "T1": 60.0, "U": 40.0, "S": 50.0, "H": 44.4},
        {"epoch": 10.0, "T1": 50.0, "U": 45.0, "S": 55.0, "H": 49.5},
        {"epoch": 15.0, "T1": 55.0, "U": 30.0, "S": 60.0, "H": 40.0},
    ]
    watch.history[:] = rows
    assert watch.best(20, {"T1": 58.0, "U": 44.0, "S": 54.0, "H": 48.0}) == {
        "every": 5,
        "best_epoch": 10,
        "U": 45.0,
        "S": 55.0,
        "H": 49.5,
        "T1": 60.0,
    }


def test_the_last_epoch_counts_with_the_figures_of_the_run_and_once() -> None:
    watch = TestWatch(lambda model: pytest.fail("nothing is scored"), every=5)
    last = {"T1": 61.0, "U": 50.0, "S": 50.0, "H": 50.0}
    assert watch.best(10, last) == {}, "one epoch alone is no choice"
    watch.history[:] = [
        {"epoch": 5.0, "T1": 60.0, "U": 40.0, "S": 50.0, "H": 44.4},
        {"epoch": 10.0, "T1": 99.0, "U": 99.0, "S": 99.0, "H": 99.0},  # of an earlier version
    ]
    assert watch.best(10, last) == {"every": 5, "best_epoch": 10, **last}


def test_the_last_epoch_is_not_scored_again() -> None:
    asked: list[int] = []
    watch = TestWatch(lambda model: asked.append(1) or pytest.skip("scored"), every=1)  # type: ignore[func-returns-value]
    model: Any = SimpleNamespace(config=SimpleNamespace(train=SimpleNamespace(epochs=3)))
    assert watch.after_epoch(3, model) is False and not asked and not watch.history


@pytest.mark.parametrize(
    ("epochs", "trained", "scored", "interval"),
    [
        (20, 100, 12, 5),  # 3 % of 2000 images are 60: five looks of 12, and three are asked for
        (20, 100, 30, 10),  # two looks: at 10, and the last, which costs nothing
        (20, 7050, 4731, 20),  # not one look: 4230 images
        (60, 7050, 4731, 20),  # two, at 20 and 40
        (5, 100, 1000, 5),  # only the last
        (0, 100, 10, 5),
    ],
)
def test_looks_that_nobody_asked_for_take_at_most_three_percent(
    epochs: int, trained: int, scored: int, interval: int
) -> None:
    found = affordable(5, epochs, trained, scored)
    assert found == interval
    assert max(0, epochs - 1) // found * scored <= 0.03 * epochs * trained
