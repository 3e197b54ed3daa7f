"""Kept weights go back into the model that they are of, or are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zslkit.errors import DataError
from zslkit.training import weights

KEPT = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.zeros(1)}


def filled(kept: dict[str, torch.Tensor]) -> torch.Tensor:
    model: Any = nn.Linear(2, 1)
    weights.fill(model, kept, Path("model.safetensors"))
    found: torch.Tensor = model.weight
    return found


def test_weights_are_those_that_were_kept() -> None:
    assert filled(KEPT).tolist() == [[1, 2]]
    assert filled(KEPT | {"weight": KEPT["weight"].half()}).tolist() == [[1, 2]]


@pytest.mark.parametrize("kind", [torch.int32, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused(kind: torch.dtype) -> None:
    with pytest.raises(
        DataError,
        match=rf"does not fit Linear: weight holds {str(kind)[6:]} where float32 belongs; move the "
        r"folder",
    ):
        filled(KEPT | {"weight": KEPT["weight"].to(kind)})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(
        DataError, match=r"model\.safetensors is cut off or damaged \(it is no file\)"
    ):
        weights.read(tmp_path / "model.safetensors")


def test_weights_of_another_run_are_refused_and_unmarked_ones_read(tmp_path: Path) -> None:
    model: Any = nn.Linear(2, 1)
    place = tmp_path / "model.safetensors"
    weights.save(model, place, "0123456789ab")
    assert weights.read(place, "0123456789ab").keys() == weights.read(place).keys() == KEPT.keys()
    with pytest.raises(DataError, match="of the run 0123456789ab, and its record is of ba98"):
        weights.read(place, "ba9876543210")
    weights.save(model, place)  # as earlier versions did
    assert weights.read(place, "ba9876543210").keys() == KEPT.keys()
