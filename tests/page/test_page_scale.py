"""Places on a chart and round ticks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zslkit.page.scale import Scale


def test_ends_fall_on_ends_and_the_middle_between_them() -> None:
    scale = Scale(0, 10, 100, 0)
    assert [scale.at(v) for v in (0, 5, 10)] == [100, 50, 0]


def test_a_logarithmic_middle_is_the_geometric_mean() -> None:
    assert Scale(1, 100, 0, 10, log=True).at(10) == pytest.approx(5)


def test_ticks_are_round() -> None:
    assert Scale(0, 60, 0, 1).ticks(6) == [0, 10, 20, 30, 40, 50, 60]
    assert Scale(0.13, 0.49, 0, 1).ticks(4) == [0.2, 0.3, 0.4]
    assert Scale(0.2, 50, 0, 1, log=True).ticks() == pytest.approx([0.3, 1, 3, 10, 30])
    assert Scale(0.05, 500, 0, 1, log=True).ticks() == pytest.approx([0.1, 1, 10, 100])
    assert Scale(2.1, 3.9, 0, 1, log=True).ticks() == [3]


def test_one_value_alone_has_a_scale_too() -> None:
    for value in (0.0, 5.0):
        scale = Scale.around([value], 0, 100)
        assert 0 < scale.at(value) < 100
    assert 0 < Scale.around([3.0], 0, 100, log=True).at(3.0) < 100


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5), st.booleans())
def test_all_values_and_ticks_lie_inside(values: list[float], log: bool) -> None:
    scale = Scale.around(values, 0, 100, log)
    ticks = scale.ticks()
    assert ticks and len(ticks) <= 30
    for value in (*values, *ticks):
        assert -1e-6 <= scale.at(value) <= 100 + 1e-6 and math.isfinite(scale.at(value))
