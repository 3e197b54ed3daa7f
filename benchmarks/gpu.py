"""One command for whatever accelerator is there: what it costs, and whether it computes what the
CPU does.

    python benchmarks/gpu.py [--device cuda|mps|cpu] [--small] [--minutes M] [--out FILE.md]

It prints a Markdown table: equality with the CPU for every gradient model, resuming, a step of DEDN
at the sizes of CUB, SUN and
AWA2 (eager and compiled, float32, TF32, bfloat16) against the plain form and the floor at the
device's own product rate, extraction
against the bare network, training on full-size made-up features, kept on the device and streamed,
and two processes where there are
two devices. It stops beginning new parts after --minutes (default 9) and names what it left out.
--device cpu --small tries the
program itself in a minute; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from gpu_measures import Asked, Row, equality, extraction, resume, steps, timed, training

NONE = (
    "There is no accelerator here: torch finds neither a CUDA device nor MPS; run this on a "
    "machine that has one, or try the program with --device cpu --small"
)


def processes(asked: Asked) -> Iterator[Row]:
    """One run in one process and in two, on a device each."""
    if asked.device.type != "cuda" or torch.cuda.device_count() < 2:
        yield Row("two processes", "left out: it takes two CUDA devices")
        return
    seconds = [timed(partial(_run, count), asked.device) for count in (1, 2)]
    yield Row(
        "a whole run of dedn on digits, two processes",
        f"{seconds[1]:.1f} s",
        f"one: {seconds[0]:.1f} s",
    )


def _run(count: int) -> None:
    with tempfile.TemporaryDirectory() as out:
        settings = ["--set", "train.epochs=2", "--set", "features.weights=random"]
        command = [sys.executable, "-m", "zslkit", "run", "--model", "dedn", *settings]
        command += ["--dataset", "digits", "--out", out, "--processes", str(count)]
        subprocess.run(command, check=True, capture_output=True)


PARTS: dict[str, Callable[[Asked], Iterator[Row]]] = {
    "equality": equality,
    "resume": resume,
    "training": training,
    "extraction": extraction,
    "processes": processes,
    "steps": steps,
}
"""The parts in running order; the longest comes last."""


def rows(asked: Asked, minutes: float) -> Iterator[Row]:
    """The lines of the table; a part that fails or finds no time left has a line that says so."""
    began = time.monotonic()
    for name, part in PARTS.items():
        lines = part(asked)
        while True:
            if time.monotonic() - began > 60 * minutes:
                yield Row(name, f"left out, or its rest: {minutes:g} minutes were over")
                break
            try:
                yield next(lines)
            except StopIteration:
                break
            except Exception as error:
                why = " ".join(str(error).split())[:200]
                yield Row(name, f"**failed**: {type(error).__name__}: {why}")
                break


def described(device: torch.device) -> str:
    """The machine, in words."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"{name}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores"
    )


def chosen(name: str | None) -> torch.device | None:
    """The named device, else the accelerator that is there, else None."""
    if name is not None:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps") if torch.backends.mps.is_available() else None


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", help="default: the accelerator that is there")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the program")
    parser.add_argument("--minutes", type=float, default=9.0, help="begin no part after these")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the table there too")
    given = parser.parse_args(arguments)
    device = chosen(given.device)
    if device is None:
        print(NONE, file=sys.stderr)
        return 2
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    tell(f"| {described(device)} | found | against |")
    tell("|---|---|---|")
    failed = False
    for row in rows(Asked(device, given.small), given.minutes):
        tell(f"| {row.what} | {row.found} | {row.against} |")
        failed = failed or "**" in row.found + row.against
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
