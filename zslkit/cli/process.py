"""A process that is there for one command alone: it hears signals, and ends when the command's
result is out. `--processes N`: this very command in N processes, as torchrun starts them."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NoReturn

from zslkit.cli.failure import State, tell
from zslkit.cli.output import lent_to_children
from zslkit.errors import UserError
from zslkit.utils import lifeline, stops
from zslkit.utils.stops import SIGNALS, Stop

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
    if parent := os.environ.pop(PARENT, ""):  # it is true of no process that this one starts
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
    """End the process now, whatever threads are left. Exit handlers get PATIENCE seconds."""
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


def launch(processes: int, state: State) -> int:
    """The exit code of the first process that failed, 0 if none did. If one is lost, the others are
    ended.

    The processes tell their own failures; one that was ended from outside cannot, so this one does.
    It tells of interruptions too. Raises Stop if a signal asks this process to end.
    """
    import logging
    import uuid

    import torch.distributed as dist

    if not dist.is_available():
        raise UserError("This build of torch has no torch.distributed; leave --processes away")
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # torch's own report of a failed process is forty lines about its launcher.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    state.resumes = True
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ[PARENT] = str(os.getpid())
    # nohup stays nohup
    heard = [signal.Signals(s).name for s in SIGNALS if signal.getsignal(s) != signal.SIG_IGN]
    known = "signals_to_handle" in {f.name for f in fields(LaunchConfig)}  # torch 2.3 hears all
    more: dict[str, Any] = {"signals_to_handle": ",".join(heard)} if known else {}
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        max_restarts=0,
        monitor_interval=0.5,
        **more,
    )
    try:
        with lent_to_children():
            elastic_launch(config, sys.executable)("-m", "zslkit", *state.arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = int(failure.exitcode)
        if code >= 0 and code - 128 not in SIGNALS:
            return code
        signum = -code if code < 0 else code - 128
        tell(
            f"Process {rank + 1} of {processes} was ended by signal {signum}; the same command "
            "goes on from the last checkpoint"
        )
        return 1
    except SignalException as error:  # torch hears signals in our place
        raise Stop(error.sigval) from error
    return 0
