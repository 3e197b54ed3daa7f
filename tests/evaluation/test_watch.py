"""What a watched training would print if it were picked on test."""

from __future__ import annotations

from typing import Any

import pytest

from zslkit.evaluation.watch import TestWatch


def test_the_best_t1_and_the_best_h_have_an_epoch_each() -> None:
    watch = TestWatch(lambda model: pytest.fail("nothing is scored"), every=5)
    rows: list[dict[str, Any]] = [
        {"epoch": 5.0, "T1": 60.0, "U": 40.0, "S": 50.0, "H": 44.4},
        {"epoch": 10.0, "T1": 50.0, "U": 45.0, "S": 55.0, "H": 49.5},
        {"epoch": 15.0, "T1": 55.0, "U": 30.0, "S": 60.0, "H": 40.0},
    ]
    watch.history[:] = rows
    assert watch.best() == {
        "every": 5,
        "best_epoch": 10,
        "U": 45.0,
        "S": 55.0,
        "H": 49.5,
        "T1": 60.0,
    }
