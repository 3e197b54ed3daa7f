"""One training step of DEDN, the plain einsum form against ours: seconds and peak of temporaries,
in one process.

    python benchmarks/dan_step.py [--size cub|sun|awa2] [--precision float32|bfloat16] [--repeat N]
        [--profile] [--json]

The first figure is the distance to the floor: the step's time over that of its products alone, at
the rate that this
process reaches in one large product of that type. --profile tells where the rest goes, by
operation. Both forms start from the
same parameters and get the same made-up maps. A step is forward, loss, backward and optimizer.
Steps of the forms take turns, so that other work on the machine hits all; the median of each is
kept.

The plain form computes in float32, as the authors' program does; `ratio`, `plain_seconds` and
`plain_peak_mb` are against that. In
bfloat16 the plain form is measured in bfloat16 too: `same_precision_ratio` and
`same_precision_seconds`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from plain_dedn import PlainDEDN
from torch import Tensor

from zslkit.model import Task
from zslkit.utils.devices import cpu_gains_by_bfloat16
from zslkit_dedn.model import DEDN, DEDNConfig


@dataclass(frozen=True)
class Size:
    """The published size of a dataset's step: maps (batch, channels, side, side), A attributes, C
    classes."""

    attributes: int
    classes: int
    unseen: int
    side: int
    rank: int | None = None
    batch: int = 50
    channels: int = 2048


SIZES = {
    "cub": Size(312, 200, 50, 14),
    "sun": Size(102, 717, 72, 14, rank=256),
    "awa2": Size(85, 50, 10, 7),
}


def make_task(size: Size) -> Task:
    rng = np.random.default_rng(0)
    table = rng.random((size.classes, size.attributes), dtype=np.float32)
    shape = (size.channels, size.side, size.side)
    return Task(
        dataset="made up",
        classes=tuple(f"class {k}" for k in range(size.classes)),
        seen=np.arange(size.classes) >= size.unseen,
        attributes=table / np.linalg.norm(table, axis=1, keepdims=True),
        attribute_names=tuple(f"attribute {i}" for i in range(size.attributes)),
        input="map",
        feature_shape=shape,
        map_shape=shape,
        word_vectors=rng.standard_normal((size.attributes, 300), dtype=np.float32),
    )


def flops(size: Size) -> float:
    """Of the products with the map that no form can do without: four for each branch, for the rows
    of both experts."""
    return 8 * 2.0 * size.batch * 2 * size.attributes * size.channels * size.side**2


def product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Measured flop/s of a large matrix product."""
    a, b = (torch.randn(3072, 3072, device=device, dtype=dtype) for _ in range(2))
    return 2 * 3072**3 / min(_timed(lambda: a @ b, device) for _ in range(5))


def _timed(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _peak_mb(work: Callable[[], object], device: torch.device) -> float:
    """Most memory in use during `work` above what was in use before, in MB."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1e3


def _status(key: str) -> float:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)
    )
    return float(line.split()[1])


def both_forms(name: str, device: torch.device) -> tuple[DEDN, PlainDEDN, Tensor, Tensor]:
    """Our model and the plain form with the same parameters, and one batch of made-up maps."""
    size, task = SIZES[name], make_task(SIZES[name])
    torch.manual_seed(0)
    ours = DEDN(DEDNConfig(clusters="paper", rank=size.rank), task).to(device).train()
    x = torch.relu(torch.randn(size.batch, size.channels, size.side, size.side)).to(device)
    label = torch.from_numpy(
        np.random.default_rng(1).integers(size.unseen, size.classes, size.batch)
    ).to(device)
    return ours, PlainDEDN(ours), x, label


def step_of(
    device: torch.device, parameters: list[Tensor], loss: Callable[[], Tensor], low: bool
) -> Callable[[], None]:
    """One training step: forward, loss, backward, optimizer; low: in bfloat16."""
    optimizer = torch.optim.RMSprop(parameters, lr=1e-6, weight_decay=1e-4, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            value = loss()
        value.backward()
        optimizer.step()

    return step


def measure(name: str, precision: str, repeat: int, device: torch.device) -> dict[str, float]:
    """Seconds and peak of both forms, their ratios, and how far ours is from the arithmetic
    floor."""
    size = SIZES[name]
    low = precision == "bfloat16"
    ours, plain, x, label = both_forms(name, device)
    stepper = partial(step_of, device)
    steps = {
        "": stepper(list(ours.parameters()), lambda: ours.loss(x, label)["total"], low),
        "plain_": stepper(plain.parameters(), lambda: plain.loss(x, label), False),
    }
    if low:
        steps["same_precision_"] = stepper(plain.parameters(), lambda: plain.loss(x, label), True)
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {form: [] for form in steps}
    for _ in range(repeat):
        for form, step in steps.items():
            seconds[form].append(_timed(step, device))
    found = {f"{form}seconds": statistics.median(times) for form, times in seconds.items()}
    found |= {f"{form}peak_mb": _peak_mb(step, device) for form, step in steps.items()}
    if low:
        found["same_precision_ratio"] = found["same_precision_seconds"] / found["seconds"]
    gains = device.type != "cpu" or cpu_gains_by_bfloat16()  # else our products are made in float32
    rate = product_rate(torch.bfloat16 if low and gains else torch.float32, device)
    floor = flops(size) / rate
    return {
        "ratio": found["plain_seconds"] / found["seconds"],
        **found,
        "peak_share": found["peak_mb"] / found["plain_peak_mb"],
        "gflop": flops(size) / 1e9,
        "product_gflops": rate / 1e9,
        "floor_seconds": floor,
        "over_floor": found["seconds"] / floor,
    }


def profile(name: str, precision: str, device: torch.device) -> str:
    """A table of the operations of one step of ours, by their own time."""
    ours, _, x, label = both_forms(name, device)
    loss = partial(ours.loss, x, label)
    low = precision == "bfloat16"
    step = step_of(device, list(ours.parameters()), lambda: loss()["total"], low)
    step()
    with torch.profiler.profile() as found:
        step()
    return str(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=list(SIZES), action="append", help="default: all")
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], action="append", help="default: both"
    )
    parser.add_argument("--repeat", type=int, default=5, help="timed steps of each form")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--profile", action="store_true", help="where a step's time goes, by operation"
    )
    given = parser.parse_args()
    device = torch.device(given.device)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for size in given.size or SIZES:
        for precision in given.precision or ("float32", "bfloat16"):
            found = results.setdefault(size, {})[precision] = measure(
                size, precision, given.repeat, device
            )
            if not given.json:
                same = (
                    f" ({found['same_precision_ratio']:.1f}x the plain form in bfloat16)"
                    if "same_precision_ratio" in found
                    else ""
                )
                print(
                    f"{size:5} {precision:9} {found['over_floor']:.2f} times the floor of "
                    f"{found['floor_seconds']:.2f} s: {found['seconds']:.2f} s against "
                    f"{found['plain_seconds']:.2f} s, {found['ratio']:.1f}x{same}; "
                    f"peak {found['peak_mb']:.0f} MB against {found['plain_peak_mb']:.0f} MB",
                    flush=True,
                )
                if given.profile:
                    print(profile(size, precision, device))
    if given.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
