"""File locks between processes, with a message when one has to wait."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 1.0
"""Seconds to wait before the message; two processes that start together often wait this briefly."""


def acquired(
    place: Path | str,
    on_wait: Callable[[str], object],
    sentence: str,
    patience: float | None = None,
) -> AbstractContextManager[object]:
    """Acquire the lock file `place`, for use in a `with` statement.

    The system releases the lock of a dead process. `on_wait` gets `sentence` once, after `patience`
    seconds (PATIENCE by default) of waiting.

    Raises:
        OSError: The file cannot be written.
    """
    lock = FileLock(place)
    try:
        return lock.acquire(timeout=PATIENCE if patience is None else patience)
    except Timeout:
        on_wait(sentence)
        return lock.acquire()


def is_held(lock: Path) -> bool:
    """Whether a process holds the lock; without a lock file none does."""
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):  # a lock that cannot be tested counts as held
        return True
