"""Turns the lines of a run's log into entries: phase, epoch and numbers.

An interrupted run logs some epochs twice; the entries hold each once.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PLACE = ("time", "phase", "stage", "fold", "epoch")
"""Keys that locate a line and are not figures."""


@dataclass(frozen=True)
class LogEntry:
    """One step of a phase.

    Attributes:
        epoch: Epoch, from 1; in a phase without epochs, the number of the entry in the phase.
        figures: Finite numbers by name.
    """

    phase: str
    epoch: int
    figures: Mapping[str, float]


class Entries:
    """Converts the lines of one log, in order, including those before an interruption."""

    def __init__(self) -> None:
        self._seen: set[tuple[Any, ...]] = set()
        self._numbers: Counter[str] = Counter()
        self._on_trial = False

    def entry(self, line: Mapping[str, Any]) -> LogEntry | None:
        """The entry of a line; None if the line has no figure or repeats an earlier line."""
        figures = {k: float(v) for k, v in line.items() if k not in _PLACE and _finite(v)}
        phase, epoch = self._phase(line), line.get("epoch")
        if isinstance(epoch, int):
            # Names only: a repeated epoch may differ in its last bits on some devices.
            key: tuple[Any, ...] = (phase, epoch, *sorted(figures))
        else:
            content = {k: v for k, v in line.items() if k not in ("time", "seconds")}
            key = (phase, json.dumps(content, sort_keys=True, default=str))
        if key in self._seen:
            return None
        self._seen.add(key)
        if not isinstance(epoch, int):
            self._numbers[phase] += 1
            epoch = self._numbers[phase]
        return LogEntry(phase, epoch, figures) if figures else None

    def _phase(self, line: Mapping[str, Any]) -> str:
        phase = str(line.get("phase", "run"))
        if phase == "search":
            self._on_trial = False
        elif "fold" not in line:
            self._on_trial = phase.partition(",")[0] == "trial"
        elif line["fold"]:
            phase = f"{phase}, fold {int(line['fold']) + 1}"  # the name of the training there
        if self._on_trial:
            # The log names the validation of a trial like that of the selected settings.
            _, comma, fold = phase.partition(",")
            phase = f"trial {self._numbers['search'] + 1}{comma}{fold}"
        return f"{phase}: {line['stage']}" if "stage" in line else phase


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
