"""YAML read so that every value knows the line where its key stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml


class TwiceError(Exception):
    """A key that stands twice in one mapping, of which YAML would silently take the last."""

    def __init__(self, key: str, first: int, second: int) -> None:
        self.key, self.first, self.second = key, first, second
        super().__init__(f"{key!r} stands twice, in lines {first} and {second}; keep one")


def load(text: str) -> tuple[Any, dict[str, int]]:
    """What the text says, and dotted key -> line, from 1; items of a list are numbered: `freeze.0`.

    What an alias (*name) stands for has the line of its key alone. Raises yaml.YAMLError, and TwiceError.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines = dict(_lines(node, "", set()))  # before construction, which resolves << into keys of other places
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def _lines(node: yaml.Node, prefix: str, seen: set[int]) -> Iterator[tuple[str, int]]:
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
            yield from _lines(value, f"{name}.", seen)
    elif isinstance(node, yaml.SequenceNode):
        for k, item in enumerate(node.value):
            yield f"{prefix}{k}", item.start_mark.line + 1
            yield from _lines(item, f"{prefix}{k}.", seen)
