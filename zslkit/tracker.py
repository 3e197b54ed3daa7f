"""The tracker contract: base class of plugins that receive a run's metrics while it goes on.

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
    """What a tracker knows before a run. Gives no access to images, labels or scores.

    Attributes:
        home: Folder of the finished run.
        identity: Hash of everything that determines the result.
        model: Model name in results.
        origin: Distribution and version of the model.
        dataset: Dataset name in results.
        seed: Seed of the run.
        config: Copy of the resolved settings, nested.
        resumed: Whether this tracker already received a part of the run, before an interruption.
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
        """Current folder of the run: beside `home` while in progress, then `home`.

        Read it before each write. A tracker may keep a folder of its own in it, which is moved and
        removed with the run.
        """
        partial = partial_of(self.home)
        return partial if partial.is_dir() else self.home


class Tracker(ABC):
    """Base class of trackers. One instance per run, made without arguments before any data is read.

    The harness may make one more instance to test that it can be made. A UserError in `__init__`
    ends the command with its message. An exception in any other method prints a warning and
    switches the tracker off; the run continues. Methods receive copies, and the random state and
    the working directory are restored after each call. The run waits for each call.

    Write the class attributes below as literals: `zslkit trackers` reads them without importing.
    """

    needs: ClassVar[Sequence[str]] = ()
    """Import names of required packages that its distribution does not depend on.

    The tracker is only made if they are installed."""
    install: ClassVar[str] = ""
    """Command that installs them."""

    @abstractmethod
    def start(self, info: RunInfo) -> None:
        """A run starts, or resumes after an interruption (`info.resumed`)."""

    @abstractmethod
    def log(self, phase: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Metrics of one epoch, reported once even if the run is interrupted.

        Args:
            phase: "train" is the training of the reported result, "train: NAME" a stage of it.
                "validation" and "validation, fold 2" are trainings on folds inside trainval;
                "validation again" repeats one up to the selected epoch. "trial 7" is the training
                of the seventh point of the search; "search" and "mix" are the points.
            epoch: From 1; in a phase without epochs, the number of the entry.
            figures: Finite values only, none from test sets: means of the loss terms over the epoch
                and its seconds, or results on a fold (T1, U, S, H in percent, AUSUC 0..1, gamma).
        """

    @abstractmethod
    def finish(self, record: RunRecord | None) -> None:
        """The run ends.

        Args:
            record: The record of the finished run, whose folder is complete; None if the run was
                interrupted or failed and may be resumed.
        """


def check_tracker(name: str, loaded: Any) -> type[Tracker]:
    """Return `loaded` if it is a tracker class.

    Raises:
        UserError: It is not; the message says why.
    """
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
