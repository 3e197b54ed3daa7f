"""Saves and loads the state of a training; an interrupted save leaves the earlier state intact."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zslkit.errors import DataError
from zslkit.utils.files import check_permitted, need_plain, replacing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings, lists and dicts; the file appears when it is whole.

    Raises:
        OSError: The file cannot be written, for instance because the disk is full; names `path`.
    """
    try:
        # An open file: given a path, torch reports a full disk as an error about positions.
        with replacing(path) as beside, beside.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        system = error if isinstance(error, OSError) else error.__context__
        if isinstance(system, OSError):
            raise OSError(system.errno, system.strerror, str(path)) from error
        raise


class Pace:
    """Saves after some epochs only, so that checkpoints take at most a share of the time."""

    def __init__(self, share: float) -> None:
        self._share, self._saved, self._cost = share, time.monotonic(), 0.0

    def save(self, path: Path, state: Callable[[], dict[str, Any]], last: bool) -> None:
        """Write the state if there is time for it, and after the last epoch."""
        began = time.monotonic()
        if last or self._cost <= self._share * (began - self._saved):
            save(path, state())
            self._saved = time.monotonic()
            self._cost = self._saved - began


def load(path: Path) -> dict[str, Any]:
    """Load the state that `save` wrote, executing nothing; DataError if the file is damaged."""
    check_permitted(path)
    try:
        need_plain(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"The checkpoint {path} is damaged ({type(error).__name__}); "
            "remove it to start this run afresh"
        ) from error
    if not isinstance(state, dict):
        raise DataError(
            f"The checkpoint {path} is not one of ours; remove it to start this run afresh"
        )
    return state
