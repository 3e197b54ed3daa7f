"""`zslkit data download`: fetch datasets into the layout that papers use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.listing import lines
from zslkit.cli.options import data_root_option, flag
from zslkit.cli.output import print_columns, print_json
from zslkit.cli.verb import verb
from zslkit.registry import DATASETS

if TYPE_CHECKING:
    from zslkit.acquire.download import ArchiveState, Done


@verb(example="zslkit data download awa2 --dry-run")
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=completers.datasets)
@data_root_option
@click.option(
    "--mirror",
    "mirrors",
    metavar="URL",
    multiple=True,
    help="Look for URL/<file> first, such as your lab's own server; may be repeated.",
)
@flag("--dry-run", "Show what would be fetched from where; fetch and write nothing.")
@click.option(
    "--keep-archives/--remove-archives",
    default=True,
    show_default=False,
    help="Keep or remove an archive after unpacking; default: keep.",
)
def download(
    names: tuple[str, ...],
    data_root: Path,
    mirrors: tuple[str, ...],
    dry_run: bool,
    keep_archives: bool,
    as_json: bool,
) -> None:
    """Fetch the files of the datasets NAME... and unpack them below --data-root.

    After an interruption, give the same command again: it continues. Existing files stay as they
    are.
    """
    if not names:
        have = [line.entry.name for line in lines(DATASETS) if line.facts.values.get("downloads")]
        raise click.UsageError(
            f"Name one dataset or more; these can be downloaded: {', '.join(have)}"
        )
    from zslkit.acquire.download import Done, addresses, fetch, look
    from zslkit.acquire.sources import needed
    from zslkit.utils.progress import reporter_for

    plan = needed(names)
    places = {d.file: addresses(d, mirrors) for d in plan}
    if dry_run:
        done = [Done(look(d, data_root)) for d in plan]
    else:
        done = fetch(plan, data_root, mirrors, reporter_for(), keep_archives)
    if as_json:
        plain = [_plain(d, places[d.before.download.file]) for d in done]
        print_json({"data_root": str(data_root), "dry_run": dry_run, "downloads": plain})
    elif dry_run:
        header = ("file", "size", "state", "goes to", "licence", "from")
        print_columns(header, [_row(d.before, places[d.before.download.file]) for d in done])
    else:
        rows = [(d.before.download.file, str(d.before.target), _outcome(d)) for d in done]
        print_columns(("file", "in", "outcome"), rows)


def _row(before: ArchiveState, places: list[str]) -> tuple[str, ...]:
    from zslkit.acquire.unpack import megabytes

    archive = before.download
    size = f"about {megabytes(archive.size)}" if archive.size else "unknown"
    words = {
        "unpacked": "there already",
        "fetched": f"{before.archive} to unpack",
        "begun": f"{megabytes(before.held)} fetched",
        "missing": "to fetch",
    }
    licence, source = archive.licence or "unknown", " or ".join(places)
    return archive.file, size, words[before.state], str(before.target), licence, source


def _outcome(done: Done) -> str:
    unpacked = done.unpacked
    if unpacked is None:
        return "there already"
    text = f"{unpacked.added} files added"
    if unpacked.kept:
        text += f", {unpacked.kept} kept that were there"
    if differ := unpacked.differ:
        text += f" ({len(differ)} of them differ from the archive's: {', '.join(differ[:3])})"
    return text


def _plain(done: Done, places: list[str]) -> dict[str, Any]:
    before, archive, unpacked = done.before, done.before.download, done.unpacked
    return {
        "file": archive.file,
        "urls": places,
        "size": archive.size,
        "licence": archive.licence or None,
        "md5": archive.md5,
        "sha256": archive.sha256,
        "archive": str(before.archive),
        "target": str(before.target),
        "before": before.state,
        "bytes_held_before": before.held,
        "fetched_from": done.url,
        **{key: getattr(unpacked, key, None) for key in ("added", "kept", "differ")},
    }
