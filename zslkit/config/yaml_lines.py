"""Reads YAML with the line of every key and the text of every scalar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml


class TooMuch(yaml.YAMLError):
    """The text is too large, too deeply nested, or its aliases unfold to too many values."""


MOST = 100_000
"""Most values in one text, with aliases expanded. A card of 20,000 classes has 40,000."""
LONGEST_NUMBER = 400
"""Most characters of a number or date; Python does not print integers over 4300 digits."""


class TwiceError(Exception):
    """A mapping contains one key twice; YAML would silently use the last."""

    def __init__(self, key: str, first: int, second: int) -> None:
        self.key, self.first, self.second = key, first, second
        super().__init__(f"{key!r} stands twice, in lines {first} and {second}; keep one")


class Read(NamedTuple):
    """Content of a YAML text.

    Attributes:
        lines: Dotted key -> line, from 1. List items are numbered: `freeze.0`. The content of an
            alias (*name) has no lines.
        texts: Dotted key -> text as written, for values that YAML reads as numbers, booleans or
            dates; the key "" is the whole text.
    """

    value: Any
    lines: dict[str, int]
    texts: dict[str, str]


def load(text: str) -> Read:
    """Read a YAML text.

    Raises:
        yaml.YAMLError: Not valid YAML, or too large (TooMuch).
        TwiceError: A mapping contains one key twice.
    """
    # Parsing millions of values takes minutes and gigabytes, so estimate their number first:
    # a value comes with at most two of these signs, and rarely with none.
    if sum(text.count(sign) for sign in ("\n", ",", ":", "[", "{", "- ")) > 2 * MOST:
        raise TooMuch(f"it has more than {MOST:,} values")
    loader = yaml.SafeLoader(text)  # plain values only; Python tags are errors
    try:
        node = loader.get_single_node()
        if node is None:
            return Read(None, {}, {})
        if _count(node, {}, loader) > MOST:
            raise TooMuch(
                f"it has more than {MOST:,} values, those counted that aliases (*) stand for"
            )
        texts: dict[str, str] = {}
        # Before construction, which copies merged keys (<<) from other lines and reads keys.
        lines = dict(_lines(node, "", set(), texts))
        return Read(loader.construct_document(node), lines, texts)
    except RecursionError as error:
        raise TooMuch("it is nested too deeply") from error
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int], loader: yaml.SafeLoader) -> int:
    """Number of values in `node`, with a check of each scalar.

    `known` maps the id of a node to its count; 0 while being counted.
    """
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
    """Raises yaml.MarkedYAMLError for a scalar that looks like a number or date but is invalid."""
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
        type_name = node.tag.rpartition(":")[2]
        shown = node.value
        if len(shown) > 40:
            shown = f"{shown[:20]}..., {len(shown):,} signs"
        problem = f"{shown!r} is no {type_name} that there is; write it in quotes if it is a text"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


_THOUSANDS = re.compile(r"[-+]?\d{1,3}(_\d{3})+(\.\d*)?([eE][-+]?\d+)?")
_BASE_8 = re.compile(r"[-+]?0[0-7_]+")


def is_odd(text: str) -> bool:
    """Whether YAML 1.1 reads a number here that people do not: base 8, base 60, or 1_0."""
    text = text.strip()
    if _BASE_8.fullmatch(text) and int(text, 8) != int(text):
        return True
    return ":" in text or ("_" in text and not _THOUSANDS.fullmatch(text))


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TAKEN_FOR_ELSE = {f"tag:yaml.org,2002:{t}" for t in ("int", "float", "bool", "timestamp")}


def _lines(
    node: yaml.Node, prefix: str, seen: set[int], texts: dict[str, str]
) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and is_odd(node.value):
        node.tag = "tag:yaml.org,2002:str"
    if isinstance(node, yaml.ScalarNode) and node.tag in _TAKEN_FOR_ELSE:
        texts[prefix.removesuffix(".")] = node.value
    if id(node) in seen:  # an alias, possibly recursive
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        mine: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            key.tag = "tag:yaml.org,2002:str"  # keys are names, also no, 1 and 2024-01-01
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
