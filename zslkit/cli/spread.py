"""Many runs, or points of a search, at once: joblib carries them to processes here (loky) or to the
workers of a cluster (`zslkit.cli.clusters`)."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zslkit import __version__
from zslkit.cli import clusters
from zslkit.cli.verb import refuse
from zslkit.cli.worker import BEGUN, Lost, Order, Site, WorkerReply, make, this_process
from zslkit.errors import UserError
from zslkit.registry import is_card
from zslkit.utils.files import cache_root, clear, marked
from zslkit.utils.stops import Stop, received


@dataclass(frozen=True)
class Spread:
    """Where runs are made. jobs: local processes, None: one for each CUDA device, else 1.
    scheduler: address of the cluster."""

    jobs: int | None = None
    backend: Literal["local", "dask", "ray"] = "local"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for options that contradict each other."""
        local = self.backend == "local"
        refuse(
            (
                local and self.scheduler is not None,
                "--scheduler is the address of a cluster: say of which kind with --backend dask or "
                "--backend ray",
            ),
            (
                self.backend == "dask" and self.scheduler is None,
                "--backend dask needs the address of a scheduler, such as --scheduler "
                "tcp://HOST:8786",
            ),
            (
                not local and self.jobs is not None,
                f"--jobs counts processes of this machine; with --backend {self.backend} there are "
                "as many as workers",
            ),
        )

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Spread:
        """Take the values of spread_options out of `options`. Raises UsageError as above."""
        return cls(*(options.pop(name) for name in ("jobs", "backend", "scheduler")))

    @property
    def asked(self) -> bool:
        """Whether an option asks for more than this process."""
        return self.backend != "local" or (self.jobs or 1) > 1

    def processes(self, device: str) -> int:
        """How many runs are made at once on this machine. 1 is the process of the command itself.

        More than one is never a guess: each takes the memory of a run of its own, and a smaller
        share of the cores moves the last bits of what it computes.
        """
        return self.jobs or max(1, cuda_devices(device))


def cuda_devices(device: str) -> int:
    """CUDA devices that --device leaves open; 0 if it names one, or another kind, or there is
    none."""
    if device not in ("auto", "cuda"):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def answers(
    arguments: Sequence[Mapping[str, Any]],
    spread: Spread,
    debug: bool,
    points: Sequence[Mapping[str, Any]] | None = None,
) -> Generator[WorkerReply, None, None]:
    """The answers of the runs with these arguments of zslkit.run, in the order in which they come.

    A run whose worker was lost is given out once more, and after a second loss alone, so that it
    takes no other along.

    Args:
        points: Of each run's search; then these are tried, and no run is made.

    Raises:
        UserError: The cluster cannot be reached, or a worker does not see this command's files.
        Stop: A worker was interrupted.
    """
    local = spread.backend == "local"
    times: Counter[int] = Counter()
    with _site(arguments, spread, debug, of_points=points is not None) as site:
        waiting = {
            n: Order(n, dict(a) if local else _absolute(a), site, points[n] if points else None)
            for n, a in enumerate(arguments)
        }
        while waiting:
            alone = [number for number in waiting if times[number] > 1]
            given = alone[:1] or list(waiting)
            try:
                for answer in _given_out([waiting[number] for number in given], spread, site):
                    if answer.interrupted:
                        raise Stop
                    if answer.unfit:
                        raise UserError(answer.sentence)
                    del waiting[answer.number]
                    yield answer
            except Lost as error:
                times.update(_begun(site, waiting) or waiting.keys() & set(given))
                if len(given) == 1 and given[0] in waiting and times[given[0]] > 1:
                    del waiting[given[0]]
                    yield WorkerReply(given[0], sentence=_sentence_of(error, local))


def _begun(site: Site, waiting: Container[int]) -> list[int]:
    """The orders that lost workers were at. Local workers are lost together, so more than one may
    be innocent."""
    marks = list(Path(site.markers[0]).parent.glob(f"{BEGUN}*"))
    for mark in marks:
        mark.unlink(missing_ok=True)
    return [number for mark in marks if (number := int(mark.name.removeprefix(BEGUN))) in waiting]


def _sentence_of(error: Lost, local: bool) -> str:
    if code := re.search(r"EXIT\((\d+)\)", str(error)):
        return (
            f"its process ended by itself with exit code {code[1]} and without an answer; "
            "native code of the model or of a library calls exit(), which no plugin may do"
        )
    return (
        f"its worker was lost twice ({error}), as happens where memory is short; the same command "
        f"goes on from here, with {'fewer --jobs' if local else 'more memory for each worker'}"
    )


@contextmanager
def _site(
    arguments: Sequence[Mapping[str, Any]], spread: Spread, debug: bool, of_points: bool
) -> Iterator[Site]:
    """What the runs share; its markers are there as long as this lasts."""
    import joblib
    import torch

    local, device, first = spread.backend == "local", str(arguments[0]["device"]), arguments[0]
    # The points of a search get processes of their own and the same number of threads, however few
    # of them are left.
    workers = spread.processes(device) if local else len(arguments)
    if local and not of_points:
        workers = min(workers, len(arguments))
    cache, data = cache_root().absolute(), Path(first["data_root"]).absolute()
    places = [Path(first["out"]).absolute(), *([] if local else [cache])]
    said = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(said) if said.isdecimal() and int(said) else max(1, joblib.cpu_count() // workers)
    listing = None if local or not data.is_dir() else (str(data), tuple(sorted(os.listdir(data))))
    with ExitStack() as stack:
        # So named, utils.files.clear removes for the next command what a killed one leaves.
        name = f".jobs-{uuid.uuid4().hex[:12]}.{stack.enter_context(marked())}.new"
        homes = [place / name for place in places]
        for home in homes:
            clear(home.parent)
            stack.callback(_remove, home)
            home.mkdir(parents=True)
            (home / "alive").touch()
        yield Site(
            version=__version__,
            markers=tuple(str(home / "alive") for home in homes),
            listing=listing,
            cache=str(cache),
            threads=threads if local else None,
            workers=workers,
            devices=cuda_devices(device) if local else 0,
            debug=debug,
            command="" if local else this_process(),
            parent=os.getpid() if local else 0,
            command_threads=torch.get_num_threads() if of_points else None,
        )


def _remove(home: Path) -> None:
    for _ in range(10):
        shutil.rmtree(home, ignore_errors=True)
        if not home.exists():
            return
        time.sleep(0.1)  # a worker that had begun puts a file of its own there


def _absolute(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same with whole paths: a worker stands in another folder."""
    whole = {k: v.absolute() if isinstance(v, Path) else v for k, v in arguments.items()}
    if is_card(str(whole["dataset"])):
        whole["dataset"] = str(Path(whole["dataset"]).absolute())
    return whole


def _given_out(orders: Sequence[Order], spread: Spread, site: Site) -> Iterator[WorkerReply]:
    """One round. Raises Lost if workers ended before they answered."""
    if spread.backend == "dask":
        with clusters.dask(str(spread.scheduler)):
            yield from _made(orders)
    elif spread.backend == "ray":
        with clusters.ray(spread.scheduler):
            yield from _made(orders, "list")  # Ray's pool can do no other
    else:
        with _local(site):
            yield from _made(orders)


@contextmanager
def _local(site: Site) -> Iterator[None]:
    """Processes of this machine. Raises Lost if one ends without an answer."""
    import joblib

    _quiet_ends()
    with joblib.parallel_config(
        backend="loky", n_jobs=site.workers, inner_max_num_threads=site.threads
    ):
        try:
            yield
        except BrokenProcessPool as error:
            raise Lost(_end_of(error)) from error


def _quiet_ends() -> None:
    """What loky tells of processes that were cut off says nothing to a user: it clears up after
    them by itself."""
    said = os.environ.get("PYTHONWARNINGS", "")
    if _LEAKS not in said:  # its tracker is a process of its own, and outlives this one
        os.environ["PYTHONWARNINGS"] = f"{said},{_LEAKS}".lstrip(",")
        before = threading.excepthook
        of_loky = "ExecutorManagerThread"
        threading.excepthook = lambda a: (
            None if a.thread and a.thread.name == of_loky and received() else before(a)
        )


_LEAKS = "ignore:resource_tracker"


def _end_of(error: BrokenProcessPool) -> str:
    codes = re.search(r"exit codes? of the workers (?:are|is) \{([^}]*EXIT[^}]*)\}", str(error))
    return f"a process ended: {codes[1]}" if codes else "a process was killed"


def _made(orders: Sequence[Order], return_as: str = "generator_unordered") -> Iterator[WorkerReply]:
    import joblib

    tasks = (joblib.delayed(make)(order) for order in orders)
    coming = joblib.Parallel(batch_size=1, pre_dispatch="all", return_as=return_as)(tasks)
    try:
        yield from coming
    finally:
        if return_as != "list":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that closing early cuts runs off is known
                coming.close()
