"""Runs trackers beside a run: loads them by name, passes on the log, contains their errors."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.errors import UserError, ZslkitError
from zslkit.record import RunRecord
from zslkit.registry import TRACKERS, BrokenPlugin, Entry
from zslkit.runs.folders import LOG
from zslkit.runs.log_entries import Entries, LogEntry
from zslkit.runs.run_folder import RunFolder
from zslkit.tracker import RunInfo, Tracker
from zslkit.utils.files import write_text
from zslkit.utils.stops import error_sentence, is_stop

BOOK = "trackers.json"
"""In the folder of a run in progress: the number of log lines that each tracker has received."""


@dataclass(frozen=True)
class Ready:
    """A tracker before its first call."""

    entry: Entry
    tracker: Tracker


def load(names: Sequence[str]) -> list[Ready]:
    """Create the trackers, each once.

    Raises:
        UnknownName: No such tracker is registered.
        NameClash: Several trackers have the name.
        BrokenPlugin: The tracker's plugin cannot be used.
        UserError: A package is missing; names the command that installs it.
    """
    found = dict(map(TRACKERS.load, names))
    return [Ready(entry, _make(entry, tracker_class)) for entry, tracker_class in found.items()]


def _make(entry: Entry, tracker_class: type[Tracker]) -> Tracker:
    if missing := [package for package in tracker_class.needs if find_spec(package) is None]:
        how = f"; install it with: {tracker_class.install}" if tracker_class.install else ""
        raise UserError(
            f"The tracker {entry.name!r} needs {', '.join(missing)}, which is not installed{how}"
        )
    try:
        return tracker_class()
    except ZslkitError:
        raise
    except BaseException as error:  # a plugin may raise anything
        if is_stop(error):
            raise
        raise BrokenPlugin(entry, error_sentence(error)) from error


class Followers:
    """The trackers of one run. Made by `follow`."""

    def __init__(
        self, ready: Sequence[Ready], folder: RunFolder, note: Callable[[str], None]
    ) -> None:
        self._folder, self._note = folder, note
        self._live = list(ready)
        self._entries = Entries()
        self._told, self._count = _read_book(folder.path / BOOK), 0

    def start(self, info: RunInfo) -> None:
        """Start each tracker and pass on earlier log lines that it has not received."""
        before = _lines(self._folder.path / LOG)
        told = {ready.entry: self._told.get(_name(ready.entry), 0) for ready in self._live}
        received = {entry: min(len(before), count) for entry, count in told.items()}
        for ready in list(self._live):
            mine = replace(
                info, config=deepcopy(info.config), resumed=_name(ready.entry) in self._told
            )
            self._call(ready, lambda tracker, mine=mine: tracker.start(mine))  # type: ignore[misc]
        for number, line in enumerate(before):
            entry = self._entries.entry(line)
            for ready in list(self._live):
                if entry is not None and number >= received[ready.entry]:
                    self._tell(ready, entry)
        self._count = len(before)
        self._write_book()

    def hear(self, line: Mapping[str, Any]) -> None:
        """Pass on a line of the log."""
        self._count += 1
        if (entry := self._entries.entry(line)) is not None:
            for ready in list(self._live):
                self._tell(ready, entry)
        self._write_book()

    def finish(self, record: RunRecord | None) -> None:
        """Finish each tracker once; None stands for a run that was interrupted."""
        for ready in list(self._live):
            mine = record.model_copy(deep=True) if record is not None else None
            self._call(ready, lambda tracker, mine=mine: tracker.finish(mine))  # type: ignore[misc]
        self._live.clear()
        if record is not None:
            with contextlib.suppress(OSError):
                (self._folder.path / BOOK).unlink(missing_ok=True)

    def _tell(self, ready: Ready, entry: LogEntry) -> None:
        self._call(
            ready, lambda tracker: tracker.log(entry.phase, entry.epoch, dict(entry.figures))
        )

    def _call(self, ready: Ready, what: Callable[[Tracker], None]) -> None:
        try:
            with _untouched():
                what(ready.tracker)
        except BaseException as error:  # a tracker may even call exit()
            if is_stop(error):
                raise
            self._live.remove(ready)
            who = f"The tracker {ready.entry.name!r} of {ready.entry.origin}"
            self._note(
                f"{who} is switched off for this run, which goes on: "
                f"{error_sentence(error)}{_at(error)}"
            )

    def _write_book(self) -> None:
        for ready in self._live:
            self._told[_name(ready.entry)] = self._count
        # The run itself reports a full disk when it writes.
        with contextlib.suppress(OSError):
            write_text(self._folder.path / BOOK, json.dumps(self._told))


@contextmanager
def follow(
    ready: Sequence[Ready], folder: RunFolder, info: RunInfo, note: Callable[[str], None]
) -> Iterator[Followers]:
    """Pass everything that is logged in `folder` to the trackers.

    The caller calls `finish(record)` when the run is committed. Errors of trackers are contained
    and `note` gets a sentence for each; only a real Ctrl-C is raised.
    """
    followers = Followers(ready, folder, note)
    if not ready:
        yield followers
        return
    folder.listeners.append(followers.hear)
    try:
        followers.start(info)
        yield followers
    finally:
        folder.listeners.remove(followers.hear)
        followers.finish(None)  # does nothing if the run is finished


def _name(entry: Entry) -> str:
    return f"{entry.distribution}:{entry.name}"


def _at(error: BaseException) -> str:
    """File and line of the error in the tracker's code; the first frame is ours."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


@contextmanager
def _untouched() -> Iterator[None]:
    """Restore random generators and working directory afterwards."""
    own, numpys = random.getstate(), np.random.get_state()
    here = os.getcwd()
    with contextlib.ExitStack() as stack:
        stack.callback(random.setstate, own)
        stack.callback(np.random.set_state, numpys)
        stack.callback(os.chdir, here)
        if (torch := sys.modules.get("torch")) is not None:
            devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
            stack.enter_context(torch.random.fork_rng(devices))
        yield


def _read_book(place: Path) -> dict[str, int]:
    try:
        book = json.loads(place.read_text(encoding="utf-8"))
        return {str(name): int(count) for name, count in book.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _lines(log: Path) -> list[dict[str, Any]]:
    """The lines of the log; an unreadable line counts and is empty."""
    lines: list[dict[str, Any]] = []
    texts = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    for text in texts.splitlines():
        line: Any = None
        with contextlib.suppress(ValueError):
            line = json.loads(text)
        lines.append(line if isinstance(line, dict) else {})
    return lines
