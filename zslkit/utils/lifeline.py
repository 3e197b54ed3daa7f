"""A process that others started for one command ends with it, however it ended: nobody waits for its work any more."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

EVERY = 0.5
"""Seconds between two looks."""

_end = os._exit  # the real one; see zslkit.utils.stops.no_way_out
_watched: set[int] = set()


def end_with(pid: int, last: Callable[[], object] = lambda: None) -> None:
    """From now on this process ends when `pid` does, the process that started it. last: is called before.

    It ends at once: whatever it writes must be whole at any moment. A thread looks, so native code must let go of Python's lock.
    """
    if pid in _watched:
        return
    _watched.add(pid)
    threading.Thread(target=_watch, args=(pid, last), daemon=True).start()


def _watch(pid: int, last: Callable[[], object]) -> None:
    _wait(pid)
    with contextlib.suppress(BaseException):
        last()
    _end(1)


def _wait(pid: int) -> None:
    if sys.platform == "win32":
        import _winapi

        with contextlib.suppress(OSError):  # it has ended already
            _winapi.WaitForSingleObject(
                _winapi.OpenProcess(0x00100000, False, pid), _winapi.INFINITE
            )  # SYNCHRONIZE
        return
    while os.getppid() == pid:  # an orphan gets another parent
        time.sleep(EVERY)
