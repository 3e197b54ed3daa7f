"""How much memory a run took at its peak, and what to do where a device has too little."""

from __future__ import annotations

import gc
import logging
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
    """Start counting anew, where the system lets a process do so (Linux, CUDA)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> float:
    """Peak memory since `reset_peak` in MB: of the device on CUDA, else of this process, pages of mapped files included."""
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
    """Whether torch says that a device has no room. For accelerators it has a class; the CPU and Apple's GPUs say so in words alone."""
    words = (
        "DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory",
        "MPS backend out of memory",
    )
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(
        word in str(error) for word in words
    )


def release(device: torch.device) -> None:
    """Give back what the device holds and nobody uses, after it had no room.

    To be called where the error is gone, since its traceback keeps tensors alive.
    """
    if device.type in ("cuda", "xpu", "mps"):
        gc.collect()
        torch.get_device_module(device).empty_cache()


def in_halves(work: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """work(batch), or where the device has no room for so many images at once, that of its halves, one after the other, and so on.

    work: rows in, rows out, each of its own image alone. Raises torch's own error where one image is too much.
    """
    try:
        return work(batch)
    except RuntimeError as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
    # Out here, since the error's traceback would keep alive what fills the device.
    release(batch.device)
    _logger.warning(
        "%s has no room for %d images at once, so they go through it in halves",
        batch.device,
        len(batch),
    )
    return torch.cat([in_halves(work, half) for half in batch.chunk(2)])
