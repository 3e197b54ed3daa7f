"""Selects the runs of a page, and says which were left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zslkit.errors import UnknownName, UserError
from zslkit.report.comparison import key_of
from zslkit.runs.folders import Run
from zslkit.runs.inventory import contents
from zslkit.runs.named import runs_at


@dataclass(frozen=True)
class Gathered:
    """Runs of a page.

    Attributes:
        runs: The runs.
        left_out: One sentence per folder that is left out.
        unread: Number of named folders without a readable run.
    """

    runs: tuple[Run, ...]
    left_out: tuple[str, ...] = ()
    unread: int = 0


def gather(folders: Sequence[Path], out: Path, datasets: Sequence[str] = ()) -> Gathered:
    """Runs in `folders`, or all inside `out` if none are named.

    Args:
        folders: Run folders, folders of such, or files of exported runs.
        out: Folder with run folders.
        datasets: Only runs on these datasets, if given.

    Raises:
        UserError: There is no run.
        UnknownName: There is no run on a given dataset.
    """
    found, left_out = _named(folders) if folders else _below(out)
    if not found:
        where = "in the folders that were named" if folders else f"in {out}"
        why = f" ({left_out[0]})" if left_out else ""
        raise UserError(
            f"There is no finished run {where}, so there is nothing to report{why}; `zslkit runs` "
            "lists what is there"
        )
    known = {run.record.dataset.name for run in found}
    for name in datasets:
        if name not in known:
            raise UnknownName(
                "run on the dataset", name, known, "" if folders else f"The folder is {out}"
            )
    unread = len(left_out) if folders else 0
    runs = [run for run in found if not datasets or run.record.dataset.name in datasets]
    once = {key_of(run.record): run for run in sorted(runs, key=lambda run: run.record.finished)}
    kept = {run.folder for run in once.values()}
    left_out += [
        f"{run.folder} is the same run as {once[key_of(run.record)].folder} and counts once"
        for run in runs
        if run.folder not in kept
    ]
    return Gathered(tuple(run for run in runs if run.folder in kept), tuple(left_out), unread)


def _named(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    runs: list[Run] = []
    left_out: list[str] = []
    for folder in dict.fromkeys(folders):
        try:
            runs += runs_at(str(folder), left_out.append)
        except UserError as error:
            left_out.append(str(error))
    return runs, left_out


def _below(out: Path) -> tuple[list[Run], list[str]]:
    runs: list[Run] = []
    left_out: list[str] = []
    for item in contents(out, left_out.append):
        if item.run is not None and item.state != "replaced":
            runs.append(item.run)
        if item.problem:  # also for a shown run with damaged tags
            left_out.append(
                item.problem
                if str(item.folder) in item.problem
                else f"{item.folder} is {item.state}: {item.problem}"
            )
        elif item.state == "running":
            left_out.append(f"{item.folder} is not finished: a process works on it now")
    return runs, left_out
