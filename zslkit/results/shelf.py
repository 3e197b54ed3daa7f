"""All that runs have left below a folder: finished, half-written, replaced and damaged ones; and removing them."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from zslkit.errors import DataError, UserError
from zslkit.results.runs import RECORD, Run, load_run, lock_of
from zslkit.results.tags import read_tags

State = Literal["finished", "half-written", "running", "replaced", "damaged", "half-removed"]

_NAME = re.compile(r"(?P<run>seed(?P<seed>-?\d+)-[0-9a-f]{12})(?P<rest>\.partial|\.removing|\.replaced-[0-9T]+)?")


@dataclass(frozen=True)
class Item:
    """What lies in one folder. run: None unless a record can be read. said: what to do about it, "" where nothing need be done.

    dataset, model: as the record says, else by the folder's path, where a name may be spelled otherwise.
    """

    folder: Path
    state: State
    dataset: str
    model: str
    seed: int
    run: Run | None
    tags: tuple[str, ...]
    said: str


def contents(out: Path) -> list[Item]:
    """Everything below `out` that a run has left, by path. Raises UserError if there is no such folder."""
    if not out.is_dir():
        raise UserError(f"There is no folder {out}; say where the runs are with --out")
    return [_item(folder, match) for folder in sorted(out.glob("*/*/seed*")) if (match := _NAME.fullmatch(folder.name)) and folder.is_dir()]


def item_at(folder: Path, out: Path) -> Item:
    """The item in a run folder `folder`, which must lie below `out` where runs do.

    Raises UserError for a folder that is elsewhere, a link, or no run folder.
    """
    if not os.path.lexists(folder):
        raise UserError(f"There is no run folder {folder}")
    match = _NAME.fullmatch(folder.name)
    if folder.is_symlink() or not folder.is_dir() or match is None:
        raise UserError(f"{folder} is no run folder; those are called seedN-IDENTITY, as `zslkit runs` lists them")
    # Resolved, so that neither ".." nor a link on the way leads out of it.
    if folder.resolve().parent.parent.parent != out.resolve():
        raise UserError(f"{folder} is not in its place below {out} (OUT/DATASET/MODEL/RUN), so it is left alone; name its --out")
    return _item(folder, match)


def remove(item: Item) -> None:
    """Remove the folder and all in it. Raises UserError for a run in progress and for a finished one without a record.

    It is renamed first, so that an interruption leaves no run that looks whole.
    """
    if item.run is None and item.state == "damaged" and not (item.folder / RECORD).is_file():
        raise UserError(f"{item.folder} holds no {RECORD}, so it may be no run; move it away by hand")
    lock = FileLock(_lock(item.folder))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{item.folder} is being worked on by another process; wait for it or stop it first") from error
    try:
        going = item.folder if item.state == "half-removed" else item.folder.with_name(f"{_run_name(item.folder)}.removing")
        if going != item.folder:
            if going.exists():
                shutil.rmtree(going)
            item.folder.rename(going)
        shutil.rmtree(going)
    except OSError as error:
        raise UserError(f"{item.folder} cannot be removed ({error.strerror or error}); check its permissions") from error
    finally:
        lock.release()


def _item(folder: Path, match: re.Match[str]) -> Item:
    dataset, model, seed = folder.parent.parent.name, folder.parent.name, int(match["seed"])
    rest = match["rest"] or ""
    state: State
    run: Run | None = None
    tags: tuple[str, ...] = ()
    if rest == ".partial":
        state = "running" if _held(folder) else "half-written"
        said = "" if state == "running" else "start the same run again and it goes on from there, or remove it"
    elif rest == ".removing":
        state, said = "half-removed", "remove it again"
    else:
        state, said = "finished" if not rest else "replaced", "" if not rest else "made anew since; remove it if nobody needs it"
        try:
            run = load_run(folder)
            tags = read_tags(folder)
        except DataError as error:
            state, said = "damaged" if run is None else state, str(error)
    if run is not None:
        dataset, model, seed = run.record.dataset.name, run.record.model.name, run.record.seed
    return Item(folder, state, dataset, model, seed, run, tags, said)


def _run_name(folder: Path) -> str:
    match = _NAME.fullmatch(folder.name)
    assert match is not None
    return match["run"]


def _lock(folder: Path) -> Path:
    return lock_of(folder.with_name(_run_name(folder)))


def _held(folder: Path) -> bool:
    """Whether a process works on the run now. No lock file: none ever did on this machine."""
    place = _lock(folder)
    if not place.exists():
        return False
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False
