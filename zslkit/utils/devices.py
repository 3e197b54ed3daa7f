"""What a run computes on: the device of --device, and a GPU for each of the processes that share a run."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from zslkit.errors import UserError
from zslkit.utils import distributed


def choose_device(name: str) -> torch.device:
    """The device of --device; auto: cuda, then mps, then cpu. Raises UserError if it is not here.

    Of processes that share a run each gets a GPU of its own.
    """
    if distributed.several():
        name = _device_of_one(name)
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"There is no device {name!r} here; --device takes auto, cpu, cuda, cuda:1 or mps"
        ) from error
    return device


def _device_of_one(name: str) -> str:
    there = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not there):
        return "cpu"
    if name not in ("auto", "cuda"):
        raise UserError(
            f"{distributed.size()} processes cannot share {name!r}; --device takes auto, cpu or "
            "cuda then, and gives each a GPU"
        )
    if distributed.size() > there:
        raise UserError(
            f"There are {there} GPUs here and {distributed.size()} processes; start one for each "
            "GPU, or give --device cpu"
        )
    torch.cuda.set_device(distributed.local())
    return f"cuda:{distributed.local()}"


@lru_cache(maxsize=1)
def cpu_gains_by_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32; True where the system does not tell."""
    try:
        return gains_by_bfloat16(
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        )
    except OSError:
        return True


def gains_by_bfloat16(cpuinfo: str) -> bool:
    """The same, told by what Linux says of the processor: by its name and its flags, so that a run's numbers never hang on a clock."""
    words = set(cpuinfo.split())
    if words & {"amx_bf16", "bf16"}:
        return True
    # Intel's instruction without AMX, which virtual machines often hide, has half the rate of its float32 products.
    return "avx512_bf16" in words and "GenuineIntel" not in words
