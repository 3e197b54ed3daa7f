"""Finds models, datasets and trackers by name, through entry points of installed distributions.

Listing reads package metadata and imports nothing. A plugin is imported on first use.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

from zslkit.errors import UnknownName, UserError, ZslkitError
from zslkit.utils.stops import error_sentence, is_stop

BUILT_IN = "zslkit"
"""Distribution whose entries take precedence over entries of the same name."""


@dataclass(frozen=True)
class Entry:
    """One registered name: a target ("module:object") and the distribution that provides it."""

    name: str
    target: str
    distribution: str
    version: str
    point: EntryPoint

    @property
    def origin(self) -> str:
        """Distribution and version, as in results: 'zslkit 0.1.0'."""
        return f"{self.distribution} {self.version}"

    @property
    def built_in(self) -> bool:
        return self.distribution == BUILT_IN

    def load(self) -> Any:
        """Import the target.

        Raises:
            BrokenPlugin: The import fails; the message names the distribution and the reason.
        """
        try:
            return self.point.load()
        except BaseException as error:  # a plugin may raise anything on import
            if is_stop(error):
                raise
            raise BrokenPlugin(self, error_sentence(error)) from error


class BrokenPlugin(ZslkitError):
    """A plugin that cannot be loaded.

    Args:
        entry: The registered name and its distribution.
        reason: What is wrong.
    """

    def __init__(self, entry: Entry, reason: str) -> None:
        self.entry, self.reason = entry, reason
        super().__init__(
            f"{entry.name!r} of {entry.origin} ({entry.target}) cannot be used: {reason}. "
            f"Mend or uninstall {entry.distribution}; everything else works without it"
        )


class NameClash(UserError):
    """Several plugins register one name.

    Args:
        kind: Singular noun of the group, such as "model".
        entries: The clashing entries.
    """

    def __init__(self, kind: str, entries: list[Entry]) -> None:
        self.entries = entries
        owners = " and ".join(f"{e.origin} ({e.target})" for e in entries)
        picks = " or ".join(f"{e.distribution}:{e.name}" for e in entries)
        super().__init__(
            f"The {kind} {entries[0].name!r} is registered twice, by {owners}; say {picks}"
        )


def is_card(name: str | Path) -> bool:
    """Whether `name` is the path of a card, not the name of a registered dataset."""
    return str(name).lower().endswith((".yaml", ".yml"))


def _next_step(kind: str, name: str) -> str:
    """What to do about an unknown name; data of one's own lacks a card, or is given without it."""
    if kind == "dataset" and Path(f"{name}.yaml").is_file():
        return f"For the card {name}.yaml give its path"
    if kind == "dataset" and Path(name).is_dir():
        return f"For the folder {name} write a card, with: zslkit data new {name}"
    return f"List them with: zslkit {kind}s"


class Registry:
    """Entries of one entry-point group.

    Args:
        group: Entry-point group, such as "zslkit.models".
        kind: Singular noun for messages, such as "model".
        base: "module:Class" from which all entries derive. Its module has the function
            `check_KIND`, called with the name and the loaded object; it raises UserError for an
            invalid one. Named and not imported here, so that listing imports no torch.
    """

    def __init__(self, group: str, kind: str, base: str) -> None:
        self.group, self.kind, self.base = group, kind, base

    def entries(self) -> list[Entry]:
        """All entries, clashing ones too, by name with built-in ones first. Imports nothing."""
        found = [e for e in _scan() if e.point.group == self.group]
        return sorted(found, key=lambda e: (e.name, not e.built_in, e.distribution))

    def find(self, name: str) -> Entry:
        """The entry for `name` or `distribution:name`.

        Raises:
            UnknownName: There is none; the message suggests similar names.
            NameClash: Several plugins registered it.
        """
        entries = self.entries()
        if ":" in name:
            chosen = [e for e in entries if f"{e.distribution}:{e.name}" == name]
            known = [f"{e.distribution}:{e.name}" for e in entries]
        else:
            chosen = [e for e in entries if e.name == name]
            known = [e.name for e in entries]
        if not chosen:
            raise UnknownName(self.kind, name, known, _next_step(self.kind, name))
        if chosen[0].built_in or len(chosen) == 1:
            return chosen[0]
        raise NameClash(self.kind, chosen)

    def load(self, name: str) -> tuple[Entry, Any]:
        """Find and import `name`.

        Raises:
            UnknownName: There is no such entry.
            NameClash: Several plugins registered the name.
            BrokenPlugin: The plugin cannot be loaded.
        """
        entry = self.find(name)
        loaded = _unmoved(entry)
        check = getattr(import_module(self.base.partition(":")[0]), f"check_{self.kind}")
        try:
            check(entry.name, loaded)
        except UserError as error:
            raise BrokenPlugin(entry, str(error)) from error
        return entry, loaded


MODELS = Registry("zslkit.models", "model", "zslkit.model:Model")
DATASETS = Registry("zslkit.datasets", "dataset", "zslkit.dataset:DatasetSource")
TRACKERS = Registry("zslkit.trackers", "tracker", "zslkit.tracker:Tracker")


_SPOILT: dict[str, str] = {}
"""Module -> change to shared state that its import made; such a module stays refused."""


def _unmoved(entry: Entry) -> Any:
    """Load the entry; if the import changes shared state, restore it and raise BrokenPlugin.

    Commands that have not imported torch skip this check, since they compute nothing.
    """
    module = entry.target.partition(":")[0]
    if module in sys.modules or "zslkit.utils.library_state" not in sys.modules:
        loaded = entry.load()
    else:
        from zslkit.utils.library_state import State, complaint

        before = State()
        try:
            loaded = entry.load()
        finally:
            if moved := before.moved():
                before.restore()
                _SPOILT[module] = complaint(moved, "importing it")
    if module in _SPOILT:
        raise BrokenPlugin(entry, _SPOILT[module])
    return loaded


@lru_cache(maxsize=1)
def _scan() -> tuple[Entry, ...]:
    # distributions(), unlike entry_points(), gives the distribution of an entry, and a
    # distribution with unreadable metadata does not hide the others.
    found: list[Entry] = []
    known: set[str] = set()
    for dist in distributions():
        try:
            points = [p for p in dist.entry_points if p.group.startswith("zslkit.")]
            if not points:
                continue
            name, version = dist.name, dist.version
        except Exception:
            continue
        if name in known:  # a copy later on sys.path is shadowed, as in an import
            continue
        known.add(name)
        found += [Entry(p.name, p.value, name, version, p) for p in points]
    return tuple(found)


def rescan() -> None:
    """Clear the cached entries, after packages were installed in this process."""
    _scan.cache_clear()
