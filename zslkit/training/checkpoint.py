"""The state of a training run on disk, replaced whole so that an interruption never costs the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zslkit.errors import DataError
from zslkit.files import replacing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside, then rename. state holds tensors, numbers, strings, lists and dicts."""
    with replacing(path) as beside:
        torch.save(state, beside)


def load(path: Path) -> dict[str, Any]:
    """The state that `save` wrote. Nothing in the file is executed. Raises DataError if it is damaged."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"The checkpoint {path} is damaged ({type(error).__name__}); remove it to start this run afresh") from error
    if not isinstance(state, dict):
        raise DataError(f"The checkpoint {path} is not one of ours; remove it to start this run afresh")
    return state
