"""YAML read so that every value knows the line where its key stands, and how it was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml


class TooMuch(yaml.YAMLError):
    """Text whose aliases unfold to more than anybody would write, or without end, or that is nested so deeply."""


MOST = 100_000
"""Values of one text, what aliases stand for counted at each of them. A card of 20,000 classes has 40,000."""
LONGEST_NUMBER = 400
"""Signs of a number or date; Python counts to 1e308 and prints no whole number of more than 4300 digits."""


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
    # Reading takes minutes and gigabytes where there are millions of values; a value has two such signs at most, seldom fewer than one.
    if sum(text.count(sign) for sign in ("\n", ",", ":", "[", "{", "- ")) > 2 * MOST:
        raise TooMuch(f"it has more than {MOST:,} values")
    loader = yaml.SafeLoader(text)  # knows plain values alone; a tag of Python is an error
    try:
        node = loader.get_single_node()
        if node is None:
            return Read(None, {}, {})
        if _count(node, {}, loader) > MOST:
            raise TooMuch(
                f"it has more than {MOST:,} values, those counted that aliases (*) stand for"
            )
        texts: dict[str, str] = {}
        lines = dict(
            _lines(node, "", set(), texts)
        )  # before construction, which resolves << into keys of other places
        return Read(loader.construct_document(node), lines, texts)
    except RecursionError as error:
        raise TooMuch("it is nested too deeply") from error
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int], loader: yaml.SafeLoader) -> int:
    """Values below the node and itself, each looked at. known: node -> its count, 0 while it is being counted."""
    if id(node) not in known:
        known[id(node)] = 0
        inner = node.value if isinstance(node, yaml.SequenceNode) else ()
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        if isinstance(node, yaml.ScalarNode):
            _check(node, loader)
        known[id(node)] = 1 + sum(_count(part, known, loader) for part in inner)
    if not known[id(node)]:
        raise TooMuch("an alias (*) stands for a value that it is part of")
    return known[id(node)]


def _check(node: yaml.ScalarNode, loader: yaml.SafeLoader) -> None:
    """Raises yaml.MarkedYAMLError if the text looks like a number, a date or what its tag says, and is none that there is."""
    make = loader.yaml_constructors.get(node.tag)
    if node.tag not in _TAKEN_FOR_ELSE and not node.tag.endswith(":binary"):
        return
    try:
        if node.tag in _TAKEN_FOR_ELSE and len(node.value) > LONGEST_NUMBER:
            raise ValueError
        if make is not None:
            make(loader, node)
    except yaml.YAMLError:
        raise
    except (ValueError, ArithmeticError, KeyError, AttributeError, TypeError) as error:
        kind = node.tag.rpartition(":")[2]
        shown = (
            node.value
            if len(node.value) <= 40
            else f"{node.value[:20]}..., {len(node.value):,} signs"
        )
        problem = f"{shown!r} is no {kind} that there is; write it in quotes if it is a text"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


_TAKEN_FOR_ELSE = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "timestamp")}


def _lines(
    node: yaml.Node, prefix: str, seen: set[int], texts: dict[str, str]
) -> Iterator[tuple[str, int]]:
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
