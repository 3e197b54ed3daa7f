"""benchmarks/gpu.py without a GPU: says so and ends with 2, or tries itself small on the CPU."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("gpu")


def test_without_an_accelerator_it_says_so_in_a_sentence_and_ends_with_2(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert gpu.main([]) == 2
    out, error = capsys.readouterr()
    assert not out and error.startswith("There is no accelerator here") and error.count("\n") == 1
    assert "--device cpu --small" in error


def test_a_part_that_fails_has_a_line_and_the_others_go_on(
    gpu: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def fails(asked: object) -> object:
        yield gpu.Row("half", "1 s")
        raise RuntimeError("no room")

    def works(asked: object) -> object:
        yield gpu.Row("whole", "2 s", "3 s")

    monkeypatch.setattr(gpu, "PARTS", {"broken": fails, "sound": works})
    table = tmp_path / "table.md"
    assert gpu.main(["--device", "cpu", "--small", "--out", str(table)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "|---|---|---|" and lines[2:] == [
        "| half | 1 s |  |",
        "| broken | **failed**: RuntimeError: no room |  |",
        "| whole | 2 s | 3 s |",
    ]
    assert table.read_text() == "\n".join(lines) + "\n"
    assert gpu.main(["--device", "cpu", "--minutes", "0"]) == 0
    assert capsys.readouterr().out.count("minutes were over") == 2


@pytest.mark.slow
def test_small_on_the_cpu_it_measures_everything_and_equals_itself(
    gpu: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main(["--device", "cpu", "--small"]) == 0, sys.stderr
    out = capsys.readouterr().out
    assert "not equal" not in out and "failed" not in out and out.count("equal to tolerance") >= 10
    for what in ("the same bits", "step, small, compiled, bfloat16", "extraction", "streamed"):
        assert what in out
