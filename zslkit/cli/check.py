"""Does an entry really load? Each is tried in a process of its own, so that none can hurt the
others or us.

The module is also that process: it gets the group, the distribution and the name, and answers with
one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import click

from zslkit.cli.listing import ListingLine
from zslkit.registry import DATASETS, MODELS, TRACKERS, BrokenPlugin, Entry
from zslkit.utils import lifeline

SECONDS = 300.0
"""How long one entry may take to load."""


@dataclass(frozen=True)
class Verdict:
    """Why an entry cannot be used ("" if it can), and the traceback if there is one."""

    fault: str = ""
    traceback: str = ""


def checked(found: Sequence[ListingLine], debug: bool = False) -> list[ListingLine]:
    """The lines, each with the fault that loading its entry shows. debug: tell tracebacks."""
    verdicts = check_all([line.entry for line in found])
    for line, verdict in zip(found, verdicts, strict=True):
        if debug and verdict.traceback:
            click.echo(f"{line.pick} ({line.entry.target})\n{verdict.traceback}", err=True)
    # What loading it says is the truth; the source's text is only read.
    return [
        replace(line, fault=verdict.fault or line.fault)
        for line, verdict in zip(found, verdicts, strict=True)
    ]


def check_all(entries: Sequence[Entry], seconds: float = SECONDS) -> list[Verdict]:
    """Load every entry in a process of its own, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda entry: _check(entry, seconds), entries))


def _check(entry: Entry, seconds: float) -> Verdict:
    entry_of = [entry.point.group, f"{entry.distribution}:{entry.name}"]
    command = [sys.executable, "-P", "-m", __name__, str(os.getpid()), *entry_of]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(f"loading it took over {seconds:.0f} s")
    try:
        return Verdict(**json.loads(done.stdout))
    except (ValueError, TypeError):
        return Verdict(f"loading it ended the process with code {done.returncode}", done.stderr)


def main(parent: str, group: str, name: str) -> None:
    """Load one entry and write its Verdict to standard output, where nothing that the plugin prints
    may come."""
    lifeline.end_with(int(parent))
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    verdict = Verdict()
    try:
        if group == MODELS.group:
            import zslkit.utils.library_state  # noqa: F401  # with it, what importing a model changes is found

        next(r for r in (MODELS, DATASETS, TRACKERS) if r.group == group).load(name)
    except BrokenPlugin as error:
        verdict = Verdict(error.reason, traceback.format_exc())
    except BaseException as error:  # a stranger's module may even call exit()
        verdict = Verdict(f"{type(error).__name__}: {error}", traceback.format_exc())
    json.dump(verdict.__dict__, answer)
    answer.close()
    os._exit(0)  # what the plugin left running (threads, exit handlers) is not waited for


if __name__ == "__main__":
    main(*sys.argv[1:])
