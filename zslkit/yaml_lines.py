"""YAML read so that every value knows the line where its key stands, and how it was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml


class TooMuch(yaml.YAMLError):
    """Text whose aliases unfold to more than anybody would write, or without end, or that is nested so deeply."""


MOST = 1_000_000
"""Values of one text, what aliases stand for counted at each of them. A card of 20,000 classes has fewer than 100,000."""


class TwiceError(Exception):
    """A key that stands twice in one mapping, of which YAML would silently take the last."""

    def __init__(self, key: str, first: int, second: int) -> None:
        self.key, self.first, self.second = key, first, second
        super().__init__(f"{key!r} stands twice, in lines {first} and {second}; keep one")


class Read(NamedTuple):
    """What a text says. lines: dotted key -> line, from 1; items of a list are numbered: `freeze.0`.

    texts: dotted key -> the words as written, of a value that YAML took for a number, a truth value or a date; "" is the whole text.
    What an alias (*name) stands for has the line of its key alone.
    """

    value: Any
    lines: dict[str, int]
    texts: dict[str, str]


def load(text: str) -> Read:
    """Raises yaml.YAMLError (TooMuch), and TwiceError."""
    loader = yaml.SafeLoader(text)  # knows plain values alone; a tag of Python is an error
    try:
        node = loader.get_single_node()
        if node is None:
            return Read(None, {}, {})
        if _count(node, {}) > MOST:
            raise TooMuch(f"it has more than {MOST:,} values, those counted that aliases (*) stand for")
        texts: dict[str, str] = {}
        lines = dict(_lines(node, "", set(), texts))  # before construction, which resolves << into keys of other places
        return Read(loader.construct_document(node), lines, texts)
    except RecursionError as error:
        raise TooMuch("it is nested too deeply") from error
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Values below the node and itself. known: node -> its count, 0 while it is being counted."""
    if id(node) not in known:
        known[id(node)] = 0
        inner = node.value if isinstance(node, yaml.SequenceNode) else ()
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_count(part, known) for part in inner)
    if not known[id(node)]:
        raise TooMuch("an alias (*) stands for a value that it is part of")
    return known[id(node)]


_TAKEN_FOR_ELSE = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "timestamp")}


def _lines(node: yaml.Node, prefix: str, seen: set[int], texts: dict[str, str]) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.ScalarNode) and node.tag in _TAKEN_FOR_ELSE:
        texts[prefix.removesuffix(".")] = node.value
    if id(node) in seen:  # an alias; following it could take for ever
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        mine: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name, line = f"{prefix}{key.value}", key.start_mark.line + 1
            if name in mine:
                raise TwiceError(name, mine[name], line)
            mine[name] = line
            yield name, line
            yield from _lines(value, f"{name}.", seen, texts)
    elif isinstance(node, yaml.SequenceNode):
        for k, item in enumerate(node.value):
            yield f"{prefix}{k}", item.start_mark.line + 1
            yield from _lines(item, f"{prefix}{k}.", seen, texts)
