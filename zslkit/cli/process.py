"""A process that is there for one command alone: it hears signals, and ends when the command's
result is out."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from zslkit.utils import lifeline, stops

PARENT = "ZSLKIT_PARENT"
"""Environment variable: the process that has started this one as a part of its command, by
number."""
PATIENCE = 10.0
"""Seconds that exit handlers of libraries and plugins may take at the end."""


def launched() -> bool:
    """Whether another process of zslkit has started this one as a part of its command."""
    return PARENT in os.environ


def run(
    work: Callable[[], int],
    on_error: Callable[[BaseException], int],
    last_word: Callable[[int], object],
) -> NoReturn:
    """End the process with the exit code that `work` gives.

    on_error: tells what came between, and gives its exit code. last_word: see stops.listen.
    """
    _occupy()
    if parent := os.environ.pop(
        PARENT, ""
    ):  # taken away, since it is true of no process that this one starts
        lifeline.end_with(int(parent))
    code = 1
    try:
        stops.listen(last_word)
        code = work()
    except BaseException as error:  # a signal while an error was told
        with contextlib.suppress(BaseException):
            code = on_error(error)
    end(code)


def end(code: int) -> NoReturn:
    """End the process now, whatever threads are left. Exit handlers are called, and get PATIENCE
    seconds."""
    stops.deaf()
    late = threading.Timer(PATIENCE, stops.end_process, (code,))
    late.daemon = True
    with contextlib.suppress(BaseException), stops.no_way_out():
        late.start()
        # Not by leaving Python: it first waits for every thread, and interrupted native threads
        # abort the process.
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    stops.end_process(code)


def _occupy() -> None:
    """Open what was closed of the three standard descriptors: a file of ours that came there would
    get what others print."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
