"""A device without room for a batch: halves of it give the same, and the rest is told in a
sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from zslkit.cli.failure import State, exit_code_of, sentence
from zslkit.features.forward import forward
from zslkit.utils import memory
from zslkit.utils.memory import in_halves


class Small(nn.Module):
    """A network on a device with room for `room` images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.asked = room, []  # type: ignore[var-annotated]

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        if len(x) > self.room:
            raise torch.cuda.OutOfMemoryError("no room")
        return 2 * x


def test_a_batch_that_does_not_fit_goes_through_in_halves_in_order_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    small, x = Small(3), torch.arange(14.0).view(7, 2)
    assert torch.equal(in_halves(small, x), 2 * x)
    assert small.asked == [7, 4, 2, 2, 3]
    assert (
        "no room for 7 images at once" in caplog.text
        and "no room for 4 images at once" in caplog.text
    )


def test_extraction_takes_halves(caplog: pytest.LogCaptureFixture) -> None:
    x = torch.randn(4, 3, 2, 2)
    assert torch.equal(forward(Small(1), x, "float32"), 2 * x)


def test_one_image_too_much_is_a_failure_in_one_sentence() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError) as error:
        in_halves(Small(0), torch.zeros(4, 1))
    assert exit_code_of(error.value, State()) == 1
    assert "out of memory; lower train.batch_size" in sentence(error.value, State())


def test_the_peak_of_a_process_where_there_is_neither_proc_nor_resource(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=5_000_000))
    monkeypatch.setattr(memory.psutil, "Process", lambda: process)
    assert memory.peak_mb(torch.device("cpu")) == 5.0
