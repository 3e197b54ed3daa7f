"""Runs that the options of `zslkit runs` choose, and their export into one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zslkit.cli.failure import tell
from zslkit.cli.output import echo, print_json, printable, size_words
from zslkit.errors import UnknownName, UserError

if TYPE_CHECKING:
    from zslkit.runs.folders import Run
    from zslkit.runs.inventory import InventoryItem


def named_runs(words: Iterable[str], home: Path) -> list[Run]:
    """The finished runs that the words name, each once; folders that are left out are told.

    Args:
        words: Run folders, folders of such, patterns, files of exported runs, and tags.
        home: Folder of results, where tags are looked for.

    Raises:
        UnknownName: A word is none of these.
        UserError: A word names no finished run.
    """
    from zslkit.runs.named import runs_named

    found = [run for word in dict.fromkeys(words) for run in runs_named(word, home, tell)]
    return list({run.folder.resolve(): run for run in found}.values())


def chosen(
    home: Path,
    models: Sequence[str],
    datasets: Sequence[str],
    tag: str | None,
    unread: list[str],
) -> list[InventoryItem]:
    """The items below `home` of these models (all if empty), on these datasets, with this tag.

    Args:
        unread: Receives a sentence for each folder that cannot be read.

    Raises:
        UnknownName: No run has one of the names.
    """
    from zslkit.runs.inventory import contents

    found = contents(home, unread.append)
    asked: tuple[tuple[str, Sequence[str], Callable[[InventoryItem], Sequence[str]]], ...] = (
        ("run of the model", models, lambda item: (item.model,)),
        ("run on the dataset", datasets, lambda item: (item.dataset,)),
        ("run with the tag", () if tag is None else (tag,), lambda item: item.tags),
    )
    kept = found
    for kind, names, of in asked:
        known = {name for item in found for name in of(item)}
        if missing := [name for name in names if name not in known]:
            raise UnknownName(kind, missing[0], known, f"The folder is {home}")
        kept = [item for item in kept if not names or set(names) & set(of(item))]
    return kept


def export(
    folders: Sequence[Path],
    found: Sequence[InventoryItem],
    home: Path,
    target: Path,
    as_json: bool,
) -> None:
    """Write the named runs, or else the finished ones of `found`, into one file.

    Raises:
        UserError: A named run is not finished, or the file exists.
    """
    from zslkit.runs import inventory
    from zslkit.runs.exchange import export_runs

    if folders:
        items = [inventory.item_at(folder, home) for folder in dict.fromkeys(folders)]
    else:
        items = [item for item in found if item.run is not None and item.state != "replaced"]
    for item in items:
        if item.run is None:
            raise UserError(
                f"{item.folder} is {item.state}, and only finished runs are exported; name the "
                "others, or choose them with --tagged"
            )
    size = export_runs([item.run for item in items if item.run is not None], target)
    if as_json:
        paths = [str(item.folder) for item in items]
        print_json({"file": str(target), "bytes": size, "runs": paths})
        return
    plural = "" if len(items) == 1 else "s"
    echo(printable(f"written: {target} ({len(items)} run{plural}, {size_words(size)})"))
