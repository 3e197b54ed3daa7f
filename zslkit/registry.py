"""Models and datasets by name, found through the entry points of installed distributions.

Listing reads the packages' metadata and imports nothing. An entry is imported when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from typing import Any

from zslkit.errors import UnknownName, UserError, ZslkitError
from zslkit.utils.stops import is_stop, told

BUILT_IN = "zslkit"
"""The distribution whose entries win over any plugin's of the same name."""


@dataclass(frozen=True)
class Entry:
    """One registered name: a promise ("module:object") and the distribution that makes it."""

    name: str
    target: str
    distribution: str
    version: str
    point: EntryPoint

    @property
    def origin(self) -> str:
        """Distribution and version, as results record them: 'zslkit 0.1.0'."""
        return f"{self.distribution} {self.version}"

    @property
    def built_in(self) -> bool:
        return self.distribution == BUILT_IN

    def load(self) -> Any:
        """Import what the entry promises.

        Raises BrokenPlugin with the distribution and the reason if that fails in any way.
        """
        try:
            return self.point.load()
        except BaseException as error:  # a stranger's module may raise anything
            if is_stop(error):
                raise
            raise BrokenPlugin(self, told(error)) from error


class BrokenPlugin(ZslkitError):
    """A plugin that cannot be loaded, with the distribution that brought it."""

    def __init__(self, entry: Entry, reason: str) -> None:
        self.entry, self.reason = entry, reason
        super().__init__(
            f"{entry.name!r} of {entry.origin} ({entry.target}) cannot be used: {reason}. "
            f"Mend or uninstall {entry.distribution}; everything else works without it"
        )


class NameClash(UserError):
    """Two plugins that register one name."""

    def __init__(self, kind: str, entries: list[Entry]) -> None:
        self.entries = entries
        owners = " and ".join(f"{e.origin} ({e.target})" for e in entries)
        picks = " or ".join(f"{e.distribution}:{e.name}" for e in entries)
        super().__init__(
            f"The {kind} {entries[0].name!r} is registered twice, by {owners}; say {picks}"
        )


def is_card(name: str) -> bool:
    """Whether `name` means a card in a file rather than a registered dataset."""
    return name.lower().endswith((".yaml", ".yml"))


class Registry:
    """The entries of one entry-point group.

    group: "zslkit.models", say. kind: the word for one entry in messages. check: called with the
    entry and the loaded object, raises BrokenPlugin if the object is not what the group holds.
    """

    def __init__(
        self, group: str, kind: str, check: Callable[[Entry, Any], None] | None = None
    ) -> None:
        self.group, self.kind, self._check = group, kind, check

    def entries(self) -> list[Entry]:
        """All entries, clashing ones included, sorted by name, built-in first. Imports nothing."""
        found = [e for e in _scan() if e.point.group == self.group]
        return sorted(found, key=lambda e: (e.name, not e.built_in, e.distribution))

    def find(self, name: str) -> Entry:
        """The entry that `name` or `distribution:name` stands for.

        Raises UnknownName (with a suggestion) or NameClash.
        """
        entries = self.entries()
        if ":" in name:
            chosen = [e for e in entries if f"{e.distribution}:{e.name}" == name]
            known = [f"{e.distribution}:{e.name}" for e in entries]
        else:
            chosen = [e for e in entries if e.name == name]
            known = [e.name for e in entries]
        if not chosen:
            raise UnknownName(self.kind, name, known, f"List them with: zslkit {self.kind}s")
        if chosen[0].built_in or len(chosen) == 1:
            return chosen[0]
        raise NameClash(self.kind, chosen)

    def load(self, name: str) -> tuple[Entry, Any]:
        """Find and import `name`. Raises UnknownName, NameClash or BrokenPlugin."""
        entry = self.find(name)
        loaded = _unmoved(entry)
        if self._check is not None:
            self._check(entry, loaded)
        return entry, loaded


_SPOILT: dict[str, str] = {}
"""Module of an entry -> what importing it changed. It is imported once, and refused ever after."""


def _unmoved(entry: Entry) -> Any:
    """What the entry promises. Raises BrokenPlugin if importing it changes what all models share, and puts that back.

    A command that has not imported torch makes no numbers, and is not slowed down by this.
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


def refusing(check: Callable[[str, Any], object]) -> Callable[[Entry, Any], None]:
    """A check for a Registry from one that raises UserError for (name, object): the plugin is named as broken then."""

    def checked(entry: Entry, loaded: Any) -> None:
        try:
            check(entry.name, loaded)
        except UserError as error:
            raise BrokenPlugin(entry, str(error)) from error

    return checked


@lru_cache(maxsize=1)
def _scan() -> tuple[Entry, ...]:
    # distributions() instead of entry_points(): it tells which distribution an entry is from, and
    # a distribution with unreadable metadata spoils nothing but itself.
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
        if name in known:  # an older copy further down sys.path is shadowed, as on import
            continue
        known.add(name)
        found += [Entry(p.name, p.value, name, version, p) for p in points]
    return tuple(found)


def rescan() -> None:
    """Forget what was found, after packages were installed in this process."""
    _scan.cache_clear()
