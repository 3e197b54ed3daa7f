"""A stage of a training that a model does itself: epochs with progress, log and checkpoints."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zslkit.errors import DataError
from zslkit.model import Kept
from zslkit.training import checkpoint
from zslkit.training.unread import Unread
from zslkit.utils.progress import Phase, Reporter


class TrainingStage:
    """A `zslkit.model.Stage`. Each stage has its own file, so that a finished one stays unchanged.

    Args:
        keeps: Objects that the checkpoint holds, by name.
        steps: Steps of an epoch, for progress.
        mend: Next step for the user if a loss term is not finite.
        path: Checkpoint file of the training, whose name the stage's file extends; None for none.
        share: Share of the time that checkpoints may take.
        spent: Called with the seconds of every epoch, also of those before an interruption.
    """

    def __init__(
        self,
        name: str,
        epochs: int,
        keeps: Mapping[str, Kept],
        *,
        steps: int,
        mend: str,
        path: Path | None,
        share: float,
        reporter: Reporter,
        log: Callable[..., None],
        label: str,
        spent: Callable[[float], None],
    ) -> None:
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"a stage is named by letters, digits, - and _, and {name!r} is not")
        self._name, self._epochs, self._keeps = name, epochs, keeps
        self._steps, self._mend, self._share = steps, mend, share
        self._path = path.with_name(f"{path.stem}.stage-{name}.pt") if path is not None else None
        self._reporter, self._log, self._label, self._spent = reporter, log, label, spent
        self._phase: Phase | None = None
        self._epoch, self._unread = 0, Unread()
        self._sums: dict[str, tuple[float, int]] = {}
        self._seconds = 0.0

    def __iter__(self) -> Iterator[int]:
        start = self._resume()
        if start >= self._epochs:
            return
        pace = checkpoint.Pace(self._share)
        with self._reporter.phase(
            f"{self._label}: {self._name}", total=(self._epochs - start) * self._steps
        ) as self._phase:
            for epoch in range(start, self._epochs):
                self._epoch, self._unread, self._sums = epoch, Unread(), {}
                began = time.monotonic()
                yield epoch
                self._note_terms()
                took = time.monotonic() - began
                self._seconds += took
                self._spent(took)
                terms = {k: total / count for k, (total, count) in self._sums.items()}
                place = {"phase": self._label, "stage": self._name, "epoch": epoch + 1}
                self._log(**place, seconds=round(took, 3), **terms)
                if self._path is not None:
                    pace.save(self._path, self._state, epoch + 1 == self._epochs)

    def step(self, **terms: float | Tensor) -> None:
        """Count a step and its loss terms; see `zslkit.model.Stage`."""
        if self._unread.add(terms):
            self._note_terms()

    def _note_terms(self) -> None:
        rows = self._unread.read(
            f"in epoch {self._epoch + 1}, step {{step}} of the stage {self._name}", self._mend
        )
        for row in rows:
            for k, v in row.items():
                total, count = self._sums.get(k, (0.0, 0))
                self._sums[k] = total + v, count + 1
        if rows and self._phase is not None:
            self._phase.advance(len(rows), epoch=self._epoch + 1, **rows[-1])

    def _resume(self) -> int:
        if self._path is None or not self._path.is_file():
            return 0
        state = checkpoint.load(self._path)
        try:
            kept, epoch, seconds = state["kept"], int(state["epoch"]), float(state["seconds"])
            if kept.keys() != self._keeps.keys():
                raise KeyError(
                    f"it keeps {sorted(kept)} and the model asks for {sorted(self._keeps)}"
                )
            for key, part in self._keeps.items():
                _fill(part, kept[key])
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise DataError(
                f"The checkpoint {self._path} is not of this stage ({why}); "
                f"remove it to start the stage {self._name} afresh"
            ) from error
        self._seconds = seconds
        self._spent(seconds)
        self._reporter.note(f"{self._label}: {self._name}: going on after epoch {epoch}")
        return epoch

    def _state(self) -> dict[str, Any]:
        kept = {key: _state(part) for key, part in self._keeps.items()}
        return {"epoch": self._epoch + 1, "seconds": self._seconds, "kept": kept}


def _state(part: Kept) -> object:
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


def _fill(part: Kept, state: object) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(state)  # type: ignore[arg-type]
    else:
        part.load_state_dict(state)  # type: ignore[arg-type]
