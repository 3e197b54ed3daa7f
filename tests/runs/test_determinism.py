"""Deterministic runs: the same bits, said in the record, and an operation that cannot be had that
way is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zslkit.errors import UserError
from zslkit.runs import api
from zslkit.runs.api import Result
from zslkit.runs.folders import load_run
from zslkit.training.loop import GradientTraining
from zslkit.utils.determinism import WORKSPACE, NotDeterministic, deterministic

SMALL: dict[str, Any] = {"features": {"backbone": "test_resnet", "weights": "random"}}


@pytest.fixture(autouse=True)
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment as a user has it; back again afterwards."""
    monkeypatch.setenv(WORKSPACE, "")
    yield


pytestmark = pytest.mark.usefixtures("digits_cache")


def run(out: Path, model: str = "dedn", **more: Any) -> Result:
    brief = SMALL if model == "eszsl" else SMALL | {"train": {"epochs": 2, "steps_per_epoch": 2}}
    return api.run(model, "digits", overrides=brief, out=out, device="cpu", **more)


def state() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )


@pytest.mark.parametrize("model", [pytest.param("dedn", marks=pytest.mark.slow), "eszsl"])
def test_on_a_cpu_the_same_seed_gives_the_same_bits_with_and_without(
    tmp_path: Path, model: str
) -> None:
    results = [
        run(tmp_path / name, model, deterministic=asked)
        for name, asked in (("a", True), ("b", True), ("c", False))
    ]
    first, *others = (load_run(result.folder).scores() for result in results)
    for other in others:
        np.testing.assert_array_equal(other.test_seen_scores, first.test_seen_scores)
        np.testing.assert_array_equal(other.test_unseen_scores, first.test_unseen_scores)
    assert [result.record.environment.deterministic for result in results] == [True, True, False]
    assert len({result.folder.name for result in results}) == 1  # it is the same run


@pytest.mark.slow
def test_a_run_made_without_is_shown_and_said_to_be_so(tmp_path: Path) -> None:
    class Ear:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def note(self, text: str) -> None:
            self.heard.append(text)

        phase: Any = api.Silent().phase

    run(tmp_path, "eszsl")
    ear = Ear()
    assert run(tmp_path, "eszsl", deterministic=True, reporter=ear).reused
    assert any("made without --deterministic; --again makes it anew" in text for text in ear.heard)
    run(tmp_path, "eszsl", deterministic=True, again=True)
    ear.heard.clear()
    assert run(tmp_path, "eszsl", deterministic=True, reporter=ear).reused and not ear.heard


def test_within_torch_is_strict_and_afterwards_as_before() -> None:
    torch.backends.cudnn.benchmark = True
    before = state()
    try:
        with deterministic():
            assert state() == (True, False, False) and os.environ[WORKSPACE] == ":4096:8"
        assert state() == before
        with deterministic(False):
            assert state() == before
    finally:
        torch.backends.cudnn.benchmark = False


@pytest.mark.slow
def test_an_operation_without_deterministic_form_is_named_and_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: GradientTraining, *arguments: Any) -> dict[str, float]:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
        return {}

    monkeypatch.setattr(GradientTraining, "_epoch", step)
    before = state()
    with pytest.raises(
        NotDeterministic,
        match=r"^put_ has no deterministic form on this device; leave --deterministic out",
    ) as error:
        run(tmp_path, deterministic=True)
    assert error.value.exit_code == 2 and "\n" not in str(error.value) and state() == before
    run(tmp_path)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="something else"), deterministic():
        raise RuntimeError("something else")


def test_a_workspace_that_cannot_be_changed_any_more_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(UserError, match="set it before this program starts"), deterministic():
        pass
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with deterministic():
        assert os.environ[WORKSPACE] == ":16:8"


def test_matrix_products_of_cuda_are_named() -> None:
    with pytest.raises(NotDeterministic, match="cuBLAS"), deterministic():
        raise RuntimeError(
            "Deterministic behavior was enabled, but set the environment variable "
            f"{WORKSPACE}=:4096:8"
        )
