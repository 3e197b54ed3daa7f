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
from zslkit.cli.options import flag
from zslkit.cli.output import print_columns, print_json, size_words
from zslkit.cli.verb import verb
from zslkit.errors import DataError, UserError, did_you_mean

if TYPE_CHECKING:
    from zslkit.acquire.cache import CacheItem

DAY = 86400.0


@verb(example="zslkit data clean --partial --dry-run", formerly={"--remove": "--matching"})
@click.option(
    "--matching",
    "pattern",
    metavar="PATTERN",
    shell_complete=completers.cached,
    help="Remove items of this name; * and ? stand for any characters.",
)
@flag("--partial", "Remove what interruptions left: partial stores and scans, unfinished files.")
@click.option(
    "--older-than",
    type=Real(min=0),
    metavar="DAYS",
    help="Remove items that were not used for this many days.",
)
@flag("--all", "Remove all items.", "everything")
@flag("--dry-run", "Show what would be removed, and remove nothing.")
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

    def fits(item: CacheItem) -> bool:
        if everything:
            return item.kind not in KEPT
        old = older_than is None or (item.kind not in KEPT and now - item.used >= older_than * DAY)
        named = pattern is None or _named(item.name, pattern)
        return narrowed and named and old and (not partial or item.kind in PARTIAL)

    chosen = [item for item in items if fits(item)]
    if pattern is not None and not any(_named(item.name, pattern) for item in items):
        guess = did_you_mean(pattern, [item.name for item in items])
        raise UserError(f"Nothing in the cache {root} is called {pattern!r}{guess}")
    acts = everything or narrowed
    shown = chosen if acts else items
    done = _remove(root, chosen, dry_run)
    if as_json:
        plain = [_plain(item, done.get(item.name)) for item in shown]
        print_json({"cache": str(root), "dry_run": dry_run, "items": plain})
        return 0
    if shown:
        rows = []
        for item in shown:
            said = done.get(item.name) or ("in use" if item.in_use else "")
            about = f"{item.name}{said and f'  ({said})'}"
            rows.append((item.kind, f"{size_words(item.size):>7}", _ago(now - item.used), about))
        print_columns(("kind", "   size", "last use", str(root)), rows)
    gone = [item for item in chosen if done[item.name] in (REMOVED, WOULD)] if acts else items
    size = f"{len(gone)} items, {size_words(sum(item.size for item in gone))}"
    if not items:
        tell(f"The cache {root} is empty")
    elif not acts:
        tell(f"{size}; --matching, --partial, --older-than or --all removes")
    else:
        tell(f"{size} {'would be' if dry_run else 'were'} removed")
    return 0


REMOVED, WOULD = "removed", "would be removed"


def _remove(root: Path, chosen: Sequence[CacheItem], dry_run: bool) -> dict[str, str]:
    """What became of each, by name."""
    from zslkit.acquire.cache import KEPT, remove

    done: dict[str, str] = {}
    for item in chosen:
        left = "left alone: it is in use" if item.in_use else "left alone"
        if dry_run:
            done[item.name] = left if item.in_use or item.kind in KEPT else WOULD
            continue
        try:
            remove(root, item)
            done[item.name] = REMOVED
        except DataError as error:
            tell(str(error))
            done[item.name] = left
    return done


def _named(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)


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
