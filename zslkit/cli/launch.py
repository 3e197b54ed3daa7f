"""`--processes N`: this very command in N processes, started and watched as torchrun does it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from dataclasses import fields
from typing import Any

from zslkit.cli.failure import State, tell
from zslkit.cli.output import lent_to_children
from zslkit.cli.process import PARENT
from zslkit.errors import UserError
from zslkit.utils.stops import SIGNALS, Stop


def launch(processes: int, state: State) -> int:
    """The exit code of the first process that failed, 0 if none did. If one is lost, the others are
    ended.

    The processes tell their own failures; one that was ended from outside cannot, so this one does.
    It tells of interruptions too.
    Raises Stop if a signal asks this process to end.
    """
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
    heard = [
        signal.Signals(s).name for s in SIGNALS if signal.getsignal(s) != signal.SIG_IGN
    ]  # nohup stays nohup
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
