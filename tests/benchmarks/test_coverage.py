"""Intervals hold the truth as often as they say, and equally good models are told apart no oftener:
by simulation, with fixed seeds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["coverage_of_intervals"] = module
    spec.loader.exec_module(module)
    return module


simulation = loaded()


def held(datasets: int, resamples: int) -> None:
    found = {
        name: simulation.coverage(shape, datasets, resamples)
        for name, shape in simulation.SHAPES.items()
    }
    for name, one in found.items():
        for figure, share in {**one.held, "difference": one.difference}.items():
            assert 93.5 <= share <= 96.5, (name, figure, share)
        assert one.distinguish <= 5.5, (name, one.distinguish)


@pytest.mark.slow
def test_intervals_of_small_classes_cover_what_they_say_and_tests_err_as_seldom_as_they_say() -> (
    None
):
    held(datasets=1000, resamples=1000)


@pytest.mark.slow
def test_the_same_of_ten_times_as_many_data_sets() -> None:
    held(datasets=10_000, resamples=2000)


def test_a_shape_with_classes_of_one_image_has_intervals_that_are_no_narrower_than_they_say() -> (
    None
):
    shape = simulation.Shape((1, 2, 3) * 50, (1, 2, 3) * 20, T1=0.6)
    found = simulation.coverage(shape, 400, 500)
    assert min(found.held.values()) >= 93.5
    assert found.distinguish <= 6.5
