"""What a worker process does with one run of many: an order of plain data comes in, an answer of
plain data goes out.

Models, datasets and plugins are found on the worker by their names, as on any machine where they
are installed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from zslkit import __version__
from zslkit.cli.failure import State, is_disk_full, sentence
from zslkit.errors import UserError, ZslkitError
from zslkit.utils import lifeline
from zslkit.utils.progress import Silent
from zslkit.utils.stops import Stop, listen, no_way_out

if TYPE_CHECKING:
    from zslkit.training.selection import ValidationContext

PATIENCE = 15.0
"""Seconds that a new file may take to be seen through a network file system."""
EVERY = 2.0
"""Seconds between two looks whether the command still wants the run."""
BEGUN = "begun-"
"""Before the number of an order: a file beside the marker that is there while a worker is at it."""

_OF_RUNS = ("out", "again", "reuse_changed", "trackers", "deterministic")  # nothing to a point
_ONE_AT_A_TIME = threading.Lock()  # random stream and number of threads belong to the process
_OPEN: dict[str, ValidationContext] = {}  # by the marker of its command; one at most
_SLOTS: dict[str, FileLock] = {}  # a worker keeps its device until it ends, however it ends


@dataclass(frozen=True)
class Site:
    """What all runs of one command share.

    Attributes:
        markers: Files that the command made and every worker must see; the first is gone when the
            command is.
        listing: The data folder, and the names in it.
        cache: As in zslkit.utils.files.
        threads: Of each run; None: as the worker has it.
        devices: CUDA devices that the local workers, at most `workers`, share out; 0: as --device
            says.
        command: The process that must not make a run itself; "": it may.
        parent: The process that has started the workers and must not be outlived by them; 0:
            another has.
        command_threads: Those of the command, where it makes the run whose search this is.
    """

    version: str
    markers: tuple[str, ...]
    listing: tuple[str, tuple[str, ...]] | None
    cache: str
    threads: int | None
    workers: int
    devices: int
    debug: bool
    command: str = ""
    parent: int = 0
    command_threads: int | None = None


@dataclass(frozen=True)
class Order:
    """One run, or one point of its search. arguments: keywords of zslkit.runs.api.run, plain data
    all of them."""

    number: int
    arguments: Mapping[str, Any]
    site: Site
    point: Mapping[str, Any] | None = None


class Lost(Exception):
    """Workers ended before they could answer; the text says how, as far as anyone knows."""


@dataclass(frozen=True)
class WorkerReply:
    """What became of an order: a finished run (its folder below `out`), the figures of a point, a
    sentence why not, or that nobody wants it any more.

    unfit: the sentence is about this worker, and not about the run. trace: the traceback, if it was
    asked for.
    """

    number: int
    folder: str = ""
    reused: bool = False
    sentence: str = ""
    exit_code: int = 1
    disk_full: bool = False
    unfit: bool = False
    interrupted: bool = False
    trace: str = ""
    seconds: float = 0.0
    figures: Mapping[str, float] | None = None

    def error(self) -> ZslkitError:
        """The sentence as an error with its exit code."""
        return (UserError if self.exit_code == UserError.exit_code else ZslkitError)(self.sentence)


class WorkerOrder(Silent):
    """Says nothing, and ends the run by Stop once the marker is gone: a cluster keeps running what
    nobody waits for."""

    def __init__(self, marker: str) -> None:
        self._marker, self._looked = marker, time.monotonic()

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[WorkerOrder]:
        self.look()
        yield self

    def advance(self, n: int = 1, **figures: float) -> None:
        if time.monotonic() - self._looked >= EVERY:
            self.look()

    def look(self) -> None:
        """Raises Stop if the run is not wanted any more."""
        self._looked = time.monotonic()
        if not _there(self._marker):
            raise Stop


def make(order: Order) -> WorkerReply:
    """Make the run of this order, or find it, or try its point. Whatever goes wrong is in the
    answer."""
    site, began = order.site, time.monotonic()
    # joblib may stay in the command's process, where it can start no other.
    if site.parent not in (0, os.getpid()):
        home = Path(site.markers[0]).parent
        lifeline.end_with(site.parent, lambda: shutil.rmtree(home, ignore_errors=True))
        # By any other signal this process ends, and the run is given out once more.
        listen(signals=(signal.SIGINT,))
    # Standard output is the result's, and a local worker shares it.
    with _ONE_AT_A_TIME, redirect_stdout(sys.stderr), no_way_out():
        try:
            if complaint := unfit(site):
                return WorkerReply(order.number, sentence=complaint, exit_code=2, unfit=True)
            begun = Path(site.markers[0]).with_name(f"{BEGUN}{order.number}")
            begun.touch()
            done = _done(order)
            begun.unlink(missing_ok=True)
        except BaseException as error:
            if isinstance(error, Stop):
                return WorkerReply(order.number, interrupted=True)
            return WorkerReply(
                order.number,
                sentence=sentence(error, State(site.debug, resumes=True)),
                exit_code=error.exit_code if isinstance(error, ZslkitError) else 1,
                disk_full=is_disk_full(error) is not None,
                trace="".join(traceback.format_exception(error)) if site.debug else "",
            )
    return replace(done, seconds=time.monotonic() - began)


def this_process() -> str:
    """Its name in a network."""
    return f"{socket.gethostname()}:{os.getpid()}"


def unfit(site: Site) -> str:
    """Why this worker cannot take part, in a sentence; "" if it can."""
    who = socket.gethostname()
    if site.command == this_process():  # joblib hands nothing out where it sees room for one task
        return (
            "The cluster has room for one run at a time, and then joblib would make all runs in "
            "this process; start another worker, or give the one more threads (dask worker "
            "--nthreads 2)"
        )
    if __version__ != site.version:
        return (
            f"The worker on {who} has zslkit {__version__} and this command is of "
            f"{site.version}; install the same version there"
        )
    for marker in site.markers:
        if not _seen(marker):
            return _apart(who, Path(marker).parents[1])
    if site.listing is not None:
        folder, names = site.listing
        if not Path(folder).is_dir() or not set(names) <= set(os.listdir(folder)):
            return _apart(who, Path(folder))
    return ""


def _apart(who: str, folder: Path) -> str:
    return (
        f"The worker on {who} does not see what this command sees in {folder}; "
        "--out, --data-root and the cache (ZSLKIT_CACHE) must lie on a file system that all "
        "workers share"
    )


def _done(order: Order) -> WorkerReply:
    from zslkit.runs import api

    site, arguments = order.site, dict(order.arguments)
    if site.devices:
        arguments["device"] = f"cuda:{_slot(site) % site.devices}"
    reporter = WorkerOrder(site.markers[0])
    with _cache(site.cache):
        if order.point is not None:
            return _tried(order, arguments, reporter)
        _take_threads(site.threads)
        result = api.run(**arguments, reporter=reporter)
    folder = str(result.folder.relative_to(arguments["out"]))
    return WorkerReply(order.number, folder, result.reused)


def _tried(order: Order, arguments: Mapping[str, Any], reporter: WorkerOrder) -> WorkerReply:
    from zslkit.training import selection
    from zslkit.utils.determinism import deterministic
    from zslkit.utils.library_state import held

    context = _workshop(arguments, order.site, reporter)
    with deterministic(arguments.get("deterministic", False)), held(str(arguments["model"])):
        tried = selection.try_point(context, order.point or {})
    return WorkerReply(order.number, sentence=tried.failed, figures=tried.figures)


def _workshop(arguments: Mapping[str, Any], site: Site, reporter: WorkerOrder) -> ValidationContext:
    """Where the points of this command's search are tried, opened once."""
    from zslkit.runs import api

    marker = site.markers[0]
    if marker not in _OPEN:
        _OPEN.clear()
        # It goes with the command, whatever becomes of this process.
        folder = Path(marker).with_name(f"points-{socket.gethostname()}-{os.getpid()}")
        folder.mkdir()
        choices = {k: v for k, v in arguments.items() if k not in _OF_RUNS}
        # A backbone trained on trainval is told apart by them, and the command's is there.
        own = _take_threads(site.command_threads)
        _OPEN[marker] = api.context(folder, **choices, reporter=reporter)
        _take_threads(site.threads or own)
    return _OPEN[marker]


def _take_threads(number: int | None) -> int:
    """The number there was before."""
    import torch

    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    return before


@contextmanager
def _cache(folder: str) -> Iterator[None]:
    before = os.environ.get("ZSLKIT_CACHE")
    os.environ["ZSLKIT_CACHE"] = folder
    try:
        yield
    finally:
        del os.environ["ZSLKIT_CACHE"]
        if before is not None:
            os.environ["ZSLKIT_CACHE"] = before


def _slot(site: Site) -> int:
    """This worker's number among those that work at the same time, from 0: the first that no living
    worker holds."""
    home = Path(site.markers[0]).parent
    paths = [str(home / f"worker-{number}.lock") for number in range(site.workers)]
    if held := [number for number, path in enumerate(paths) if path in _SLOTS]:
        return held[0]
    for number, path in enumerate(paths):
        with suppress(Timeout):
            _SLOTS[path] = FileLock(path, thread_local=False).acquire(timeout=0).lock
            return number
    return 0


def _seen(marker: str) -> bool:
    end = time.monotonic() + PATIENCE
    while not _there(marker):
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def _there(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:  # a network file system may falter for a moment, which says nothing
        return not isinstance(error, (FileNotFoundError, NotADirectoryError))
    return True
