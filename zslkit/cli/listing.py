"""The installed models, datasets and trackers as lines of a list, faults included, read without
importing any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zslkit.cli.source import Facts, Fault, constant, derives, facts, is_there, missing_imports
from zslkit.registry import DATASETS, MODELS, TRACKERS, Entry, Registry, is_card


@dataclass(frozen=True)
class ListingLine:
    """One entry: what it says of itself, what is wrong with it, and what else a reader should
    know."""

    entry: Entry
    facts: Facts = field(default_factory=Facts)
    fault: str = ""
    remark: str = ""

    @property
    def pick(self) -> str:
        """The name that stands for this entry and no other."""
        return f"{self.entry.distribution}:{self.entry.name}"

    def get(self, name: str) -> str:
        """A fact as text: "" if it is unknown, parts joined by commas."""
        value = self.facts.values.get(name, "")
        return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)

    def as_json(self, *names: str) -> dict[str, Any]:
        """The entry as plain data with the named facts; None where one is unknown."""
        said = {name: self.facts.values.get(name) for name in names}  # JSON has lists for tuples
        return {
            "name": self.entry.name,
            "distribution": self.entry.distribution,
            "version": self.entry.version,
            "target": self.entry.target,
            "description": self.facts.description,
            **said,
            "fault": self.fault or None,
            "remark": self.remark or None,
        }


def lines(registry: Registry, rule: Callable[[Facts], str] = lambda facts: "") -> list[ListingLine]:
    """All entries of a registry. rule: the fault of an entry whose source could be read, or ""."""
    entries = registry.entries()
    plugins = Counter(e.name for e in entries if not e.built_in)
    built_in = {e.name for e in entries if e.built_in}
    found = []
    for entry in entries:
        line = ListingLine(entry)
        try:
            line = replace(line, facts=facts(entry.target))
            line = replace(line, fault=_fault(registry, entry) or rule(line.facts))
        except Fault as fault:
            line = replace(line, fault=str(fault))
        if not entry.built_in and entry.name in built_in:
            line = replace(line, remark=f"hidden by the built-in of that name; say {line.pick}")
        elif not entry.built_in and plugins[entry.name] > 1:
            others = " and ".join(e.origin for e in entries if e.name == entry.name and e != entry)
            line = replace(line, fault=line.fault or f"registered by {others} too; say {line.pick}")
        found.append(line)
    return found


def _fault(registry: Registry, entry: Entry) -> str:
    """What any entry of the registry must be, as far as the source text tells: importable, and of
    the right base class."""
    if missing := missing_imports(entry.target.partition(":")[0]):
        return f"it imports {', '.join(missing)}, which is not installed"
    wrong = derives(entry.target, registry.base) is False
    return f"it is no subclass of {registry.base.replace(':', '.')}" if wrong else ""


def contract_rule(said: Facts) -> str:
    """The fault of a model that is written for another version of the contract."""
    ours, theirs = constant("zslkit.model", "CONTRACT"), said.values.get("contract")
    wrong = theirs not in (None, ours)
    return f"written for contract {theirs}, and this zslkit speaks {ours}" if wrong else ""


def tracker_lines() -> list[ListingLine]:
    """All trackers; one that needs a package which is not installed says so, and how to install
    it."""
    return [replace(line, remark=line.remark or _lacking(line)) for line in lines(TRACKERS)]


def _lacking(line: ListingLine) -> str:
    needs = line.facts.values.get("needs", ())
    names = needs if isinstance(needs, (tuple, list)) else ()
    missing = [name for name in names if isinstance(name, str) and not is_there(name)]
    how = f"; install it with: {line.get('install')}" if line.get("install") else ""
    return f"needs {', '.join(missing)}, which is not installed{how}" if missing else ""


def find_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that cannot be used, before anything is trained. Raises UserError."""
    if names:
        from zslkit.runs import tracking

        tracking.load(names)


def find_names(models: Sequence[str], dataset: str) -> None:
    """Refuse a name that nothing answers to, before anything heavy is imported.

    Raises UnknownName or NameClash.
    """
    for model in models:
        MODELS.find(model)
    if not is_card(dataset):
        DATASETS.find(dataset)
