"""Lists and removes everything that runs leave below a folder, unfinished and damaged runs too."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from zslkit.errors import DataError, UserError
from zslkit.runs.folders import RECORD, Run, half_written, load_run, lock_of, run_places
from zslkit.runs.tags import read_tags
from zslkit.utils.files import NotPermitted, clear, why
from zslkit.utils.locks import is_held

_logger = logging.getLogger(__name__)

State = Literal[
    "finished", "half-written", "running", "replaced", "damaged", "half-removed", "not readable"
]

_NAME = re.compile(
    r"(?P<run>seed(?P<seed>-?\d+)-[0-9a-f]{12})(?P<rest>\.partial|\.removing|\.replaced-[0-9T]+)?"
)


@dataclass(frozen=True)
class InventoryItem:
    """One folder that a run has left.

    `dataset` and `model` are those of the record; without one (run is None), the names of folders.
    `problem` says what is wrong and what to do about it; "" if nothing is.
    """

    folder: Path
    state: State
    dataset: str
    model: str
    seed: int
    run: Run | None
    tags: tuple[str, ...]
    problem: str

    @property
    def told(self) -> str:
        """The problem as a sentence that names the folder."""
        named = str(self.folder) in self.problem
        return self.problem if named else f"{self.folder} is {self.state}: {self.problem}"


def contents(out: Path, on_fault: Callable[[str], None] = _logger.warning) -> list[InventoryItem]:
    """Everything that runs have left below `out`, sorted by path.

    `on_fault` gets a sentence for each folder that this user may not read.

    Raises:
        UserError: `out` is not a folder.
    """
    if not out.is_dir():
        raise UserError(f"There is no folder {out}; say where the runs are with --runs")
    return [
        _item(folder, match)
        for folder in run_places(out, on_fault)
        if (match := _NAME.fullmatch(folder.name))
    ]


def clear_left(out: Path) -> list[Path]:
    """Remove and return temporary files that killed commands left in `out` and its run folders."""
    gone = clear(out)
    for folder in [*out.glob("*"), *out.glob("*/*"), *out.glob("*/*/seed*")]:
        if folder.is_dir() and not folder.is_symlink():
            gone += clear(folder)
    return gone


def item_at(folder: Path, out: Path) -> InventoryItem:
    """The item of one run folder below `out`.

    Raises:
        UserError: The folder is elsewhere, a link, or not a run folder.
    """
    if not os.path.lexists(folder):
        raise UserError(f"There is no run folder {folder}")
    match = _NAME.fullmatch(folder.name)
    if folder.is_symlink():
        raise UserError(
            f"{folder} is a link to {os.readlink(folder)}, and links are left alone; "
            "name the folder that it leads to"
        )
    if not folder.is_dir() or match is None:
        raise UserError(
            f"{folder} is no run folder; "
            "those are called seedN-IDENTITY, as `zslkit runs` lists them"
        )
    # Resolved, so that neither ".." nor a link can lead out of `out`.
    if folder.resolve().parent.parent.parent != out.resolve():
        raise UserError(
            f"{folder} is not in its place below {out} (RUNS/DATASET/MODEL/RUN), "
            "so it is left alone; name that folder with --runs"
        )
    return _item(folder, match)


def remove(item: InventoryItem) -> None:
    """Remove a run folder.

    The folder is renamed first, so that an interruption leaves no run that looks complete.

    Raises:
        UserError: The run is in progress, or the folder cannot be removed or may not be a run.
    """
    if item.state == "not readable":
        raise UserError(
            f"{item.folder} may not be read by this user, so it may be no run; "
            "ask its owner to remove it"
        )
    if item.run is None and item.state == "damaged" and not (item.folder / RECORD).is_file():
        raise UserError(
            f"{item.folder} holds no {RECORD}, so it may be no run; move it away by hand"
        )
    lock = FileLock(_lock(item.folder))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{item.folder} is being worked on by another process; wait for it or stop it first"
        ) from error
    try:
        going = item.folder.with_name(f"{_run_name(item.folder)}.removing")
        if item.state != "half-removed":
            if going.exists():
                shutil.rmtree(going)
            item.folder.rename(going)
        shutil.rmtree(going)
    except OSError as error:
        raise UserError(
            f"{item.folder} cannot be removed ({why(error)}); check its permissions"
        ) from error
    finally:
        lock.release()


def _item(folder: Path, match: re.Match[str]) -> InventoryItem:
    dataset, model, seed = folder.parent.parent.name, folder.parent.name, int(match["seed"])
    rest = match["rest"] or ""
    state: State
    run: Run | None = None
    tags: tuple[str, ...] = ()
    if rest == ".partial":
        state = "running" if is_held(_lock(folder)) else "half-written"
        problem = "" if state == "running" else f"{half_written(folder)}, or remove it"
    elif rest == ".removing":
        state, problem = "half-removed", "remove it again"
    else:
        state, problem = "finished", ""
        if rest:
            state, problem = "replaced", "made anew since; remove it if nobody needs it"
        try:
            run = load_run(folder)
            tags = read_tags(folder)
        except NotPermitted as error:
            state, problem = "not readable" if run is None else state, str(error)
        except DataError as error:
            state, problem = "damaged" if run is None else state, str(error)
    if run is not None:
        dataset, model, seed = run.record.dataset.name, run.record.model.name, run.record.seed
    return InventoryItem(folder, state, dataset, model, seed, run, tags, problem)


def _run_name(folder: Path) -> str:
    match = _NAME.fullmatch(folder.name)
    assert match is not None
    return match["run"]


def _lock(folder: Path) -> Path:
    return lock_of(folder.with_name(_run_name(folder)))
