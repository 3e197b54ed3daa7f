"""Finds the finished runs that words of the command line name: folders, patterns and tags."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

from zslkit.errors import UnknownName, UserError
from zslkit.runs.exchange import is_export, runs_in
from zslkit.runs.folders import RECORD, Run, load_run
from zslkit.runs.inventory import contents

DEEPEST = 3
"""Folders between a folder of results and the files of a run: dataset, model and run."""


def looks_like_place(word: str) -> bool:
    """Whether a word is a path or a pattern rather than a name."""
    return "/" in word or "\\" in word or glob.has_magic(word) or Path(word).exists()


def runs_named(word: str, home: Path, on_left_out: Callable[[str], None]) -> list[Run]:
    """The finished runs that a word names: those in a place, as of `runs_at`, or those below `home`
    that have the word as a tag, without those made anew since.

    Raises:
        UnknownName: The word is neither a place nor a tag.
        UserError: There is no finished run in the place.
        DataError: As `runs_at`.
    """
    if looks_like_place(word):
        return runs_at(word, on_left_out)
    items = contents(home, lambda sentence: None) if home.is_dir() else []
    finished = [(item.run, item.tags) for item in items if item.state == "finished"]
    if found := [run for run, tags in finished if run is not None and word in tags]:
        return found
    raise UnknownName(
        "run folder or tag",
        word,
        {tag for _, tags in finished for tag in tags},
        f"Tags are looked for in {home}; `zslkit runs` lists what is there",
    )


def runs_at(place: str, on_left_out: Callable[[str], None]) -> list[Run]:
    """The finished runs in a place, sorted by path; `on_left_out` is told of each unreadable one.

    A place is a run folder, a folder that holds some (at most three folders deep), a pattern of
    such folders, or a file of exported runs.

    Raises:
        UserError: There is no finished run.
        DataError: A file of exported runs is damaged or not to be trusted.
    """
    folders = [Path(place)]
    if is_export(folders[0]):
        return runs_in(folders[0])
    pattern = glob.has_magic(place) and not folders[0].exists()
    one = not folders[0].is_dir() or folders[0].name.endswith(".partial")
    if pattern:
        folders = [Path(found) for found in sorted(glob.glob(place)) if Path(found).is_dir()]
    elif one or (folders[0] / RECORD).exists():
        return [load_run(folders[0])]  # or raises the sentence that says what is missing
    found: list[Run] = []
    for folder in folders:
        own = list(_below(folder, on_left_out))
        if pattern and not own:
            on_left_out(f"{folder} holds no finished run and is left out")
        found += own
    if not found:
        what = "matches" if pattern else "is in"
        raise UserError(f"No finished run {what} {place}; `zslkit runs` lists what is there")
    return found


def _below(folder: Path, on_left_out: Callable[[str], None]) -> Iterable[Run]:
    records = {r for depth in range(DEEPEST + 1) for r in folder.glob("*/" * depth + RECORD)}
    for place in sorted(record.parent for record in records):
        if ".partial" in place.suffixes or ".replaced-" in place.name or ".removing" in place.name:
            continue
        try:
            yield load_run(place)
        except UserError as error:
            on_left_out(str(error))
