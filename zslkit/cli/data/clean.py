"""`zslkit data clean`: what lies in the cache, and removing it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.failure import tell
from zslkit.cli.numbers import Real
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import print_columns, print_json, size_words
from zslkit.cli.verb import Verb
from zslkit.errors import DataError, UserError, did_you_mean

if TYPE_CHECKING:
    from zslkit.acquire.cache import CacheItem

DAY = 86400.0


@click.command(
    cls=Verb, example="zslkit data clean --partial --dry-run", formerly={"--remove": "--matching"}
)
@click.option(
    "--matching",
    "pattern",
    metavar="PATTERN",
    shell_complete=completers.cached,
    help="Remove items of this name; * and ? stand for any characters.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Remove what interruptions left: partial stores and scans, unfinished files.",
)
@click.option(
    "--older-than",
    type=Real(min=0),
    metavar="DAYS",
    help="Remove items that were not used for this many days.",
)
@click.option("--all", "everything", is_flag=True, help="Remove all items.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@json_option
@debug_option
def clean(
    pattern: str | None,
    partial: bool,
    older_than: float | None,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """List the cache (feature stores, weights, digests, leftovers) with size and last use, or empty
    it.

    With several of --matching, --partial and --older-than, only items that fit all of them are
    removed. Items in use by an extraction, links, and files of other programs stay.
    """
    from zslkit.acquire.cache import KEPT, PARTIAL, contents
    from zslkit.utils.files import cache_root

    narrowed = pattern is not None or partial or older_than is not None
    if everything and narrowed:
        raise UserError("--all removes everything; leave it away to remove only some of it")
    root = cache_root()
    items = contents(root)
    now = time.time()
    chosen = [
        item
        for item in items
        if (everything and item.kind not in KEPT)
        or (
            narrowed
            and (pattern is None or _named(item.name, pattern))
            and (not partial or item.kind in PARTIAL)
            and (
                older_than is None
                or (item.kind not in KEPT and now - item.used >= older_than * DAY)
            )
        )
    ]
    if pattern is not None and not any(_named(item.name, pattern) for item in items):
        raise UserError(
            f"Nothing in the cache {root} is called "
            f"{pattern!r}{did_you_mean(pattern, [item.name for item in items])}"
        )
    acts = everything or narrowed
    shown = chosen if acts else items
    done = _remove(root, chosen, dry_run)
    if as_json:
        print_json(
            {
                "cache": str(root),
                "dry_run": dry_run,
                "items": [_plain(item, done.get(item.name)) for item in shown],
            }
        )
        return 0
    if shown:
        last = [done.get(item.name) or ("in use" if item.in_use else "") for item in shown]
        rows = [
            (
                item.kind,
                f"{size_words(item.size):>7}",
                _ago(now - item.used),
                f"{item.name}{said and f'  ({said})'}",
            )
            for item, said in zip(shown, last, strict=True)
        ]
        print_columns(("kind", "   size", "last use", str(root)), rows)
    _conclude(root, items, [i for i in chosen if done[i.name] in (REMOVED, WOULD)], acts, dry_run)
    return 0


REMOVED, WOULD = "removed", "would be removed"


def _remove(root: Path, chosen: Sequence[CacheItem], dry_run: bool) -> dict[str, str]:
    """What became of each, by name."""
    from zslkit.acquire.cache import KEPT, remove

    done: dict[str, str] = {}
    for item in chosen:
        if dry_run:
            done[item.name] = (
                "left alone: it is in use"
                if item.in_use
                else "left alone"
                if item.kind in KEPT
                else WOULD
            )
            continue
        try:
            remove(root, item)
            done[item.name] = REMOVED
        except DataError as error:
            tell(str(error))
            done[item.name] = "left alone: it is in use" if item.in_use else "left alone"
    return done


def _named(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)


def _conclude(
    root: Path, items: Sequence[CacheItem], gone: Sequence[CacheItem], acts: bool, dry_run: bool
) -> None:
    if not items:
        tell(f"The cache {root} is empty")
    elif not acts:
        tell(
            f"{len(items)} items, {size_words(sum(i.size for i in items))}; --matching, --partial, "
            "--older-than or --all removes"
        )
    else:
        verb = "would be" if dry_run else "were"
        tell(f"{len(gone)} items, {size_words(sum(i.size for i in gone))} {verb} removed")


def _ago(seconds: float) -> str:
    if seconds < DAY:
        return "today"
    days = int(seconds / DAY)
    return f"{days} day{'s' if days > 1 else ''} ago"


def _plain(item: CacheItem, outcome: str | None) -> dict[str, Any]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.used))
    return {
        "name": item.name,
        "kind": item.kind,
        "bytes": item.size,
        "last_use": stamp,
        "in_use": item.in_use,
        "outcome": outcome,
    }
