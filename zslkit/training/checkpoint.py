"""The state of a training run on disk, replaced whole so that an interruption never costs the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zslkit.errors import DataError
from zslkit.utils.files import check_permitted, need_plain, replacing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside, then rename. state holds tensors, numbers, strings, lists and dicts.

    Raises OSError that names `path` if it cannot be written, as on a full disk.
    """
    try:
        # A file of our own: given a path, torch turns a full disk into an error about positions that does not say so.
        with replacing(path) as beside, beside.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        system = error if isinstance(error, OSError) else error.__context__
        if isinstance(system, OSError):
            raise OSError(system.errno, system.strerror, str(path)) from error
        raise


def load(path: Path) -> dict[str, Any]:
    """The state that `save` wrote. Nothing in the file is executed. Raises DataError if it is damaged."""
    check_permitted(path)
    try:
        need_plain(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"The checkpoint {path} is damaged ({type(error).__name__}); remove it to start this run afresh"
        ) from error
    if not isinstance(state, dict):
        raise DataError(
            f"The checkpoint {path} is not one of ours; remove it to start this run afresh"
        )
    return state
