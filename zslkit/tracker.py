"""The tracker contract: a plugin that is told how a run goes, for figures to be seen elsewhere while it goes on.

A tracker is registered by an entry point of the group `zslkit.trackers` that names its class:

    [project.entry-points."zslkit.trackers"]
    mine = "my_package.mine:Mine"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from zslkit.errors import UserError
from zslkit.record import RunRecord
from zslkit.utils.files import partial_of


@dataclass(frozen=True)
class RunInfo:
    """What a tracker knows of a run before it. Nothing here leads to an image, a label or a score.

    home: the run's folder once it is finished. model, dataset: as they are called in results. origin: distribution and version of the
    model. config: the resolved settings, nested, a copy. resumed: this tracker has been told a part of the run before it was interrupted.
    """

    home: Path
    identity: str
    model: str
    origin: str
    dataset: str
    seed: int
    config: Mapping[str, Any]
    resumed: bool = False

    @property
    def folder(self) -> Path:
        """Where the run's files are now: beside `home` while it is in progress, then `home` itself. To be asked anew at each write.

        What a tracker keeps there in a folder of its own moves along, and is removed with the run.
        """
        partial = partial_of(self.home)
        return partial if partial.is_dir() else self.home


class Tracker(ABC):
    """One of these is made for each run, without arguments, before anything is read; one more may be made to see that it can be.

    `__init__` may raise UserError, and the command ends in its sentence. Whatever the methods raise is told in a line; the tracker is
    switched off then, and the run goes on. What they are given are copies, and the random generators and the working directory are put
    back after each call. The run waits for each call.
    The class attributes below are written as literals: `zslkit trackers` reads them without importing.
    """

    needs: ClassVar[Sequence[str]] = ()
    """Packages, as they are imported, that its distribution does not depend on. It is made only where they are installed."""
    install: ClassVar[str] = ""
    """The command that installs them."""

    @abstractmethod
    def start(self, info: RunInfo) -> None:
        """A run begins, or goes on after an interruption (info.resumed)."""

    @abstractmethod
    def log(self, phase: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Figures of an epoch; every epoch of a phase is told once for each set of figures, however often the run is interrupted.

        phase: "train" is the training that the result comes from, "train: NAME" a stage of it. "validation" and "validation, fold 2" are
        the trainings on folds inside trainval, "validation again" those of them that are repeated up to the epoch that all folds picked,
        "trial 7" those of the search's seventh point, "search" and "mix" the points themselves.
        epoch: from 1; where a phase has none, the number of its entry. figures: finite ones alone; the terms of the loss as means over
        the epoch and its seconds, or what the fold gave (T1, U, S, H in percent, AUSUC 0..1, gamma). Nothing of the test sets.
        """

    @abstractmethod
    def finish(self, record: RunRecord | None) -> None:
        """The run is finished, and its record and folder are written. None: it was interrupted or failed, and may be started again."""


def check_tracker(name: str, loaded: Any) -> type[Tracker]:
    """The class itself if it is a tracker that can be made. Raises UserError that says what is wrong."""
    if not (isinstance(loaded, type) and issubclass(loaded, Tracker)):
        raise UserError(
            f"{name}: the entry point names {loaded!r}, which is no subclass of "
            "zslkit.tracker.Tracker"
        )
    if loaded.__abstractmethods__:
        raise UserError(
            f"{name}: {loaded.__name__} lacks {', '.join(sorted(loaded.__abstractmethods__))}"
        )
    return loaded
