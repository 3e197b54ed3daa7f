"""Notes in the cache that a record was held against its scores, so that a look costs little.

A note is of one state of a run: its record as loaded, and size, times and inode of its files. Any
change makes it void, and the run is checked anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from zslkit.acquire.cache_marks import CHECKED
from zslkit.runs.folders import CONFIG, RECORD, SCORES, Run
from zslkit.utils.files import cache_root, read_small, remember

_CHECK = 2
"""Number of the check; raised where it finds more than before, so that all notes are void."""
_SETTLED = 2.0
"""Seconds without a change after which a file's times tell it from a later state."""


def state_of(run: Run) -> str:
    """Hash of the state of a run, to be taken before its files are read; "" if it cannot be told.

    Files that changed in the last seconds may change again without a trace in their times.
    """
    parts = [str(_CHECK), run.folder.name, run.record.model_dump_json()]
    for name in (RECORD, CONFIG, SCORES):
        try:
            found = os.stat(run.folder / name)
        except OSError:
            parts.append(f"no {name}")
            continue
        times = found.st_mtime_ns, found.st_ctime_ns
        if not time.time() - max(times) / 1e9 > _SETTLED:
            return ""
        parts.append(json.dumps([found.st_size, *times, found.st_dev, found.st_ino]))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def is_noted(run: Run, state: str) -> bool:
    """Whether the run passed the check in this state."""
    with suppress(OSError, ValueError):
        return bool(state) and read_small(_note(run)) == state
    return False


def note(run: Run, state: str) -> None:
    """Note that the run passed the check in this state; ignored where nothing can be written."""
    if state:
        remember(_note(run), state)


def _note(run: Run) -> Path:
    """The note of a run folder."""
    name = hashlib.sha256(os.fsencode(run.folder.absolute())).hexdigest()[:32]
    return cache_root() / CHECKED / "runs" / name
