"""Ends a helper process when the process that started it has ended."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

EVERY = 0.5
"""Seconds between two checks."""

_end = os._exit  # before zslkit.utils.stops.no_way_out replaces it
_watched: set[int] = set()


def end_with(pid: int, last: Callable[[], object] = lambda: None) -> None:
    """End this process, after a call of `last`, when its parent `pid` ends.

    It ends at once, so its files must be complete at any moment. A thread checks, so native code
    must release Python's lock.
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

        synchronize = 0x00100000
        with contextlib.suppress(OSError):  # the parent has ended already
            process = _winapi.OpenProcess(synchronize, False, pid)
            _winapi.WaitForSingleObject(process, _winapi.INFINITE)
        return
    while os.getppid() == pid:  # an orphan gets another parent
        time.sleep(EVERY)
