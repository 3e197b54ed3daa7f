"""Locks that keep two processes off one thing, and say so when one has to wait for the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 1.0
"""Seconds of waiting that nobody need hear of: of two processes that start together, one looks only whether the thing is there."""


def acquired(
    place: Path | str,
    on_wait: Callable[[str], object],
    sentence: str,
    patience: float | None = None,
) -> AbstractContextManager[object]:
    """The lock in the file `place`, held until the `with` block of the answer ends.

    If another process has it for longer than `patience` seconds (None: PATIENCE), `on_wait` is told the sentence, once, and this one
    waits on; a process that dies holds nothing. Raises OSError if the file cannot be written.
    """
    lock = FileLock(place)
    try:
        return lock.acquire(timeout=PATIENCE if patience is None else patience)
    except Timeout:
        on_wait(sentence)
        return lock.acquire()
