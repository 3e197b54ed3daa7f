"""The lines of a run's log as entries: phase, epoch and figures, each once although an interrupted run logs some epochs again."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PLACE = ("time", "phase", "stage", "fold", "epoch")
"""Keys that say where a line belongs and are no figures."""


@dataclass(frozen=True)
class LogEntry:
    """epoch: from 1; where the phase has none, the number of the entry among the phase's. figures: finite numbers alone."""

    phase: str
    epoch: int
    figures: Mapping[str, float]


class Entries:
    """Takes the lines of one log in their order, those before an interruption included."""

    def __init__(self) -> None:
        self._seen: set[tuple[Any, ...]] = set()
        self._numbers: Counter[str] = Counter()
        self._on_trial = False

    def entry(self, line: Mapping[str, Any]) -> LogEntry | None:
        """The entry that the line makes; None if it has no figure or says again what was said before."""
        figures = {k: float(v) for k, v in line.items() if k not in _PLACE and _finite(v)}
        phase, epoch = self._phase(line), line.get("epoch")
        if isinstance(epoch, int):
            # The same seed gives the same figures again, to the bit on most devices but not on all: told apart by their names alone.
            key: tuple[Any, ...] = (phase, epoch, *sorted(figures))
        else:
            said = {k: v for k, v in line.items() if k not in ("time", "seconds")}
            key = (phase, json.dumps(said, sort_keys=True, default=str))
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
            phase = (
                f"{phase}, fold {int(line['fold']) + 1}"  # as the training on that fold is called
            )
        if self._on_trial:  # its validation too, which the log calls by the same name as that of the settings that were picked
            _, comma, fold = phase.partition(",")
            phase = f"trial {self._numbers['search'] + 1}{comma}{fold}"
        return f"{phase}: {line['stage']}" if "stage" in line else phase


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
