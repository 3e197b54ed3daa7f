"""Describes the type, bounds and choices of a setting as users write them."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo


def takes(field: FieldInfo) -> str:
    """Type and bounds of a field: 'number, >= 0, < 1' or 'rmsprop | adam'."""
    return ", ".join(filter(None, [type_name(field.annotation), *map(rule_of, field.metadata)]))


def choices(annotation: Any) -> list[str]:
    """Choices of a Literal, also inside a union."""
    if get_origin(annotation) is Literal:
        return [shown(a) for a in get_args(annotation)]
    if get_origin(annotation) in (Union, types.UnionType):
        return [word for a in get_args(annotation) for word in choices(a)]
    return []


SIGNS = {
    "ge": ">=",
    "gt": ">",
    "le": "<=",
    "lt": "<",
    "multiple_of": "a multiple of",
    "min_length": "length >=",
    "max_length": "length <=",
}
"""Constraint of annotated_types -> its sign."""


def rule_of(item: Any) -> str:
    """A constraint of a field's metadata as text: '>= 0'; "" if it has no sign."""
    return ", ".join(
        f"{sign} {shown(getattr(item, name))}"
        for name, sign in SIGNS.items()
        if getattr(item, name, None) is not None
    )


def _rules(info: Any) -> str:
    """Constraints of a part of a type: '>= 1', '> 0, <= 1'."""
    items = info.metadata if isinstance(info, FieldInfo) else [info]
    return ", ".join(filter(None, map(rule_of, items)))


def type_name(annotation: Any) -> str:
    """A type as text: 'integer or none', 'uniform | balanced'."""
    if annotation is type(None) or annotation is None:
        return "none"
    if get_origin(annotation) is Literal:
        return " | ".join(map(shown, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(type_name(a) for a in get_args(annotation))
    if get_origin(annotation) in (tuple, list):
        inner = [type_name(a) for a in get_args(annotation) if a is not Ellipsis]
        repeats = Ellipsis in get_args(annotation) or get_origin(annotation) is list
        return f"[{', '.join(inner)}{', ...' if repeats else ''}]"
    if get_origin(annotation) is Annotated:
        inside, *rules = get_args(annotation)
        return " ".join([type_name(inside), *(_rules(rule) for rule in rules)]).rstrip()
    words = {int: "integer", float: "number", str: "text", bool: "true | false", Path: "path"}
    return words.get(annotation) or getattr(annotation, "__name__", None) or str(annotation)


def shown(value: Any) -> str:
    """A value in the notation of --set."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(shown, value))}]"
    return str(value)
