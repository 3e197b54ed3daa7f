"""Chooses the device of a run, and a GPU for each process of a shared run."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from zslkit.errors import UserError
from zslkit.utils import distributed


def choose_device(name: str) -> torch.device:
    """Resolve --device. "auto" takes cuda, then mps, then cpu.

    Processes that share a run get one GPU each.

    Raises:
        UserError: This machine has no such device.
    """
    if distributed.several():
        name = _device_of_process(name)
    if name == "auto":
        name = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else name
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"There is no device {name!r} here; --device takes auto, cpu, cuda, cuda:1 or mps"
        ) from error
    return device


def _device_of_process(name: str) -> str:
    gpus = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not gpus):
        return "cpu"
    if name not in ("auto", "cuda"):
        raise UserError(
            f"{distributed.size()} processes cannot share {name!r}; --device takes auto, cpu or "
            "cuda then, and gives each a GPU"
        )
    if distributed.size() > gpus:
        raise UserError(
            f"There are {gpus} GPUs here and {distributed.size()} processes; start one for each "
            "GPU, or give --device cpu"
        )
    torch.cuda.set_device(distributed.local())
    return f"cuda:{distributed.local()}"


@lru_cache(maxsize=1)
def cpu_gains_by_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32; True if the system does not say."""
    try:
        return gains_by_bfloat16(
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        )
    except OSError:
        return True


def bfloat16_remark(precision: str, device: torch.device, option: str) -> str:
    """Sentence on an `option` that asks this processor for products it is slow at; "" if none."""
    if precision != "bfloat16" or device.type != "cpu" or cpu_gains_by_bfloat16():
        return ""
    return (
        "this processor multiplies bfloat16 no faster than float32, and may be many times "
        f"slower; leave out {option} bfloat16"
    )


def gains_by_bfloat16(cpuinfo: str) -> bool:
    """As `cpu_gains_by_bfloat16`, from the text of /proc/cpuinfo.

    Decided by name and flags instead of a measurement, so that results do not depend on timing.
    """
    words = set(cpuinfo.split())
    if words & {"amx_bf16", "bf16"}:
        return True
    # Without AMX, which virtual machines often hide, Intel's bfloat16 products run at half the
    # rate of float32.
    return "avx512_bf16" in words and "GenuineIntel" not in words
