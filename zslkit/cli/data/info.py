"""`zslkit data info`: all that is known of a dataset, and what of it is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.data.places import Place, look
from zslkit.cli.failure import tell
from zslkit.cli.listing import find_names
from zslkit.cli.options import data_root_option
from zslkit.cli.output import echo, print_columns, print_json, printable, size_words
from zslkit.cli.verb import verb
from zslkit.config.wording import shown
from zslkit.errors import UserError, ZslkitError, listed

if TYPE_CHECKING:
    from zslkit.dataset import Dataset
    from zslkit.datasets.catalog import CardDataset, RegisteredDataset


@verb(example="zslkit data info digits")
@click.argument("name", shell_complete=completers.datasets)
@data_root_option
def info(name: str, data_root: Path, as_json: bool) -> int:
    """Show a registered dataset, or a card NAME.yaml: source, licence, size, and its files on disk.

    It works before the files are there. A card whose files are there and cannot be loaded is shown
    as far as it goes, and the command fails. zslkit datasets lists the names.
    """
    find_names([], name)
    from zslkit.acquire.cache import belongs, contents
    from zslkit.datasets.catalog import CardDataset, find_dataset
    from zslkit.utils.files import cache_root

    named = find_dataset(name)
    facts, places = _card(named) if isinstance(named, CardDataset) else _source(named, data_root)
    try:
        dataset, why_not = named.load(data_root), ""
    except ZslkitError as error:
        dataset, why_not = None, str(error)
    if dataset is not None:
        facts.update(_loaded(dataset))
    own = facts["name"] if dataset is None else dataset.name
    stores = [item for item in contents(cache_root()) if belongs(item.name, own)]
    facts["loads"] = why_not or "yes"
    if as_json:
        cache = [
            {"name": item.name, "kind": item.kind, "bytes": item.size, "path": str(item.path)}
            for item in stores
        ]
        print_json({**facts, "places": [p.as_json() for p in places], "cache": cache})
        return _end(why_not if named.is_card else "", places)
    for word, value in facts.items():
        if text := _text(value):
            echo(f"{word + ':':<18}{printable(text)}")
    if places:
        echo()
        print_columns(("looked for", "size", "files", "where"), [_row(place) for place in places])
    if stores:
        echo()
        rows = [(item.kind, size_words(item.size), str(item.path)) for item in stores]
        print_columns(("in the cache", "size", "where"), rows)
    return _end(why_not if named.is_card else "", places)


def _end(why_not: str, places: list[Place]) -> int:
    """Exit code: what does not load because files are missing may load later."""
    if not why_not or any(place.size is None for place in places):
        return 0
    tell(why_not)
    return UserError.exit_code


def _source(named: RegisteredDataset, root: Path) -> tuple[dict[str, Any], list[Place]]:
    """What a registered dataset says of itself without its data. Raises BrokenPlugin."""
    entry, source = named.entry, named.source()
    facts: dict[str, Any] = {
        "name": entry.name,
        "title": source.title,
        "from": entry.origin,
        "class": entry.target,
        "licence": source.licence,
        "citation": source.citation,
        "published as": source.published_as,
        "defaults": dict(source.defaults),
        "counts": dict(source.counts),
    }
    from zslkit.datasets.xlsa17 import Xlsa17

    if isinstance(source, Xlsa17):
        attributes = source.card(root, source.counts.get("attributes", 0))
        facts |= {
            "semantics": source.kind,
            "attributes": list(attributes.names),
            "groups": _groups(attributes.groups),
        }
    return facts, look(source.looks_for(root))


def _card(named: CardDataset) -> tuple[dict[str, Any], list[Place]]:
    """What a card of either kind says. Raises UserError."""
    from zslkit.datasets.card import inside
    from zslkit.datasets.card_keys import FolderCard

    path, card = named.path, named.contents
    files = {what: (key, getattr(card, key, None)) for key, what in FILES.items()}
    source = ""
    if isinstance(card, FolderCard):
        if isinstance(card.unseen, str):
            files["unseen classes"] = ("unseen", card.unseen)
    else:
        source = f"{card.source.file} ({card.source.format}, {card.source.digest[:23]})"
        parts = card.split.model_dump()
        files |= {f"split, {part}": (f"split.{part}", file) for part, file in parts.items()}
    facts: dict[str, Any] = {
        "name": card.name,
        "title": card.title or card.name,
        "from": str(path),
        "licence": card.licence,
        "citation": card.citation,
        "published as": "",
        "defaults": card.features,
        "counts": {},
        "source": source,
    }
    stated = {what: (key, file) for what, (key, file) in files.items() if file is not None}
    return facts, look({what: (inside(path, *place),) for what, place in stated.items()})


FILES = {
    "images": "images",
    "maps": "maps",
    "pooled": "pooled features",
    "labels": "labels",
    "attributes": "attributes",
    "word_vectors": "word vectors",
    "descriptions": "descriptions",
    "image_attributes": "attributes of images",
}
"""Keys of cards that name a file or folder, and what it holds."""


def _loaded(dataset: Dataset) -> dict[str, Any]:
    seen, semantics = int(dataset.seen.sum()), dataset.semantics
    counts = {
        "images": len(dataset.labels),
        "attributes": len(semantics.names),
        "seen": seen,
        "unseen": len(dataset.classes) - seen,
    }
    vectors = semantics.word_vectors
    return {
        "counts": counts | {part: len(index) for part, index in dataset.split.parts().items()},
        "semantics": semantics.kind,
        "attributes": list(semantics.names),
        "groups": _groups(semantics.groups),
        "word vectors": None if vectors is None else vectors.shape[1],
        "encoder": dataset.encoder,
        "fingerprints": dataset.fingerprints(),
        "notes": "; ".join(dataset.notes),
    }


def _groups(groups: Any) -> dict[str, int]:
    return {group: len(columns) for group, columns in groups.items()}


def _row(place: Place) -> tuple[str, str, str, str]:
    if place.size is None:
        return place.what, "missing", "-", str(place.path)
    over = "over " if place.more else ""
    return place.what, over + size_words(place.size), over + str(place.files), str(place.path)


def _text(value: Any) -> str:
    """A fact on one line; long lists by their beginning, which --json has whole."""
    if isinstance(value, dict):
        return listed([f"{key} {shown(held)}" for key, held in value.items()], 12)
    if isinstance(value, list):
        return f"{len(value)}: {listed([str(v) for v in value], 6)}" if value else ""
    return "" if value is None else str(value)
