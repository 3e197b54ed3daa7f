"""Runs that the options of `zslkit runs` choose, and their export into one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zslkit.cli.output import echo, print_json, printable, size_words
from zslkit.errors import UnknownName, UserError

if TYPE_CHECKING:
    from zslkit.runs.inventory import InventoryItem


def chosen(
    home: Path,
    models: Sequence[str],
    datasets: Sequence[str],
    tag: str | None,
    unread: list[str],
) -> list[InventoryItem]:
    """The items below `home` that the options choose.

    Args:
        home: Folder of results.
        models: Names of models; all if empty.
        datasets: Names of datasets; all if empty.
        tag: A tag; None for all.
        unread: Receives a sentence for each folder that cannot be read.

    Raises:
        UnknownName: No run has one of the names.
    """
    from zslkit.runs.inventory import contents

    items = contents(home, unread.append)
    for kind, names, known in (
        ("run of the model", models, {item.model for item in items}),
        ("run on the dataset", datasets, {item.dataset for item in items}),
        (
            "run with the tag",
            [tag] if tag is not None else [],
            {tag for item in items for tag in item.tags},
        ),
    ):
        for name in names:
            if name not in known:
                raise UnknownName(kind, name, known, f"The folder is {home}")
    return [
        item
        for item in items
        if (not models or item.model in models)
        and (not datasets or item.dataset in datasets)
        and (tag is None or tag in item.tags)
    ]


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
