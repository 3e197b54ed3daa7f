"""Selects the runs of a page, and says which were left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zslkit.errors import UnknownName, UserError
from zslkit.report.rows import key_of
from zslkit.runs.folders import Run
from zslkit.runs.inventory import contents
from zslkit.runs.named import runs_named


@dataclass(frozen=True)
class Gathered:
    """Runs of a page, a sentence for each folder that is left out, and how many words named no
    readable run."""

    runs: tuple[Run, ...]
    left_out: tuple[str, ...] = ()
    unread: int = 0


def gather(words: Sequence[str | Path], out: Path, datasets: Sequence[str] = ()) -> Gathered:
    """Runs that the words name, as of `runs_named`, or all inside `out` if there are no words.

    Args:
        words: Run folders, folders of such, patterns, files of exported runs, and tags.
        out: Folder with run folders.
        datasets: Only runs on these datasets, if given.

    Raises:
        UserError: There is no run.
        UnknownName: There is no run on a given dataset.
    """
    found: list[Run] = []
    left_out: list[str] = []
    for word in dict.fromkeys(map(str, words)):
        try:
            found += runs_named(word, out, left_out.append)
        except UserError as error:
            left_out.append(str(error))
    for item in [] if words else contents(out, left_out.append):
        if item.run is not None and item.state != "replaced":
            found.append(item.run)
        if item.problem:  # also for a shown run with damaged tags
            left_out.append(item.told)
        elif item.state == "running":
            left_out.append(f"{item.folder} is not finished: a process works on it now")
    if not found:
        where = "in the folders that were named" if words else f"in {out}"
        why = f" ({left_out[0]})" if left_out else ""
        raise UserError(
            f"There is no finished run {where}, so there is nothing to report{why}; `zslkit runs` "
            "lists what is there"
        )
    known = {run.record.dataset.name for run in found}
    for name in datasets:
        if name not in known:
            raise UnknownName(
                "run on the dataset", name, known, "" if words else f"The folder is {out}"
            )
    unread = len(left_out) if words else 0
    runs = [run for run in found if not datasets or run.record.dataset.name in datasets]
    once = {key_of(run.record): run for run in sorted(runs, key=lambda run: run.record.finished)}
    kept = {run.folder for run in once.values()}
    left_out += [
        f"{run.folder} is the same run as {once[key_of(run.record)].folder} and counts once"
        for run in runs
        if run.folder not in kept
    ]
    return Gathered(tuple(run for run in runs if run.folder in kept), tuple(left_out), unread)
