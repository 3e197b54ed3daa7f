"""`--processes N`: this very command in N processes, started and watched as torchrun does it."""

from __future__ import annotations

import logging
import os
import sys
import uuid

from zslkit.cli.failure import State, tell
from zslkit.errors import UserError


def launch(processes: int, state: State) -> int:
    """The exit code of the first process that failed, 0 if none did. If one is lost, the others are ended.

    The processes tell their own failures; one that was ended from outside cannot, so this one does.
    """
    import torch.distributed as dist

    if not dist.is_available():
        raise UserError("This build of torch has no torch.distributed; leave --processes away")
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # torch's own report of a failed process is forty lines about its launcher.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        max_restarts=0,
        monitor_interval=0.5,
    )
    sys.stdout.flush()
    try:
        elastic_launch(config, sys.executable)("-m", "zslkit", *state.arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return int(failure.exitcode)
        tell(
            f"Process {rank + 1} of {processes} was ended by signal {-failure.exitcode}; the same command goes on from the last checkpoint"
        )
        return 1
    return 0
