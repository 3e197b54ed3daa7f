"""Peak memory of a run, and ways to continue when a device runs out of memory."""

from __future__ import annotations

import gc
import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from torch import Tensor

_STATUS = Path("/proc/self/status")
_logger = logging.getLogger(__name__)


def reset_peak(device: torch.device) -> None:
    """Reset the peak memory counter, where possible (Linux, CUDA)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> float:
    """Peak memory in MB since `reset_peak`: of the device on CUDA, else of this process.

    Memory of a process includes mapped files.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error means too little device memory.

    torch has a class for accelerators; the CPU and MPS are recognised by the text.
    """
    words = r"DefaultCPUAllocator: (can't allocate|not enough) memory|MPS backend out of memory"
    by_text = re.search(words, str(error)) is not None
    return isinstance(error, torch.cuda.OutOfMemoryError) or by_text


def release(device: torch.device) -> None:
    """Free cached memory of the device, after it ran out.

    Call it outside the `except` block, since a traceback keeps tensors alive.
    """
    if device.type in ("cuda", "xpu", "mps"):
        gc.collect()
        torch.get_device_module(device).empty_cache()


def in_halves(work: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """work(batch), or that of its halves, recursively, if the device runs out of memory.

    `work` maps rows of the batch (B, ...) to rows, each independent of the others.

    Raises:
        RuntimeError: One row is too much for the device.
    """
    try:
        return work(batch)
    except RuntimeError as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
    # Outside the except block, since the traceback keeps tensors alive.
    release(batch.device)
    what = "%s has no room for %d images at once, so they go through it in halves"
    _logger.warning(what, batch.device, len(batch))
    return torch.cat([in_halves(work, half) for half in batch.chunk(2)])
