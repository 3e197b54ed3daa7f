"""Converts YAML scalars to the type of each field.

YAML 1.1 reads 007, 1_000, on and 2024-01-01 as numbers, booleans and dates, and 1e-4 (without a
dot) as text.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from zslkit.config.merge import below
from zslkit.config.yaml_lines import is_odd


def as_expected(
    kind: type[BaseModel], values: Mapping[str, Any], texts: Mapping[str, str]
) -> dict[str, Any]:
    """Convert the values of a configuration class to the types of its fields.

    Args:
        values: Nested values as YAML read them.
        texts: Dotted key -> text as written (zslkit.config.yaml_lines.Read).

    Returns:
        The converted values; what cannot be converted is unchanged, for validation to refuse.
    """
    fields = {info.alias or name: info for name, info in kind.model_fields.items()}
    return {
        k: _read(fields[k].annotation, v, k, texts) if k in fields else v for k, v in values.items()
    }


class Written:
    """Text that YAML or Python reads as another number than people do: 1_0, 010, 1:30, yes.

    Numeric fields refuse it.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return repr(self.text)


def number(value: Any) -> Any:
    """Convert text such as 1e-4 to a number; return anything else unchanged."""
    if isinstance(value, str) and is_odd(value):
        return value
    try:
        return float(value) if isinstance(value, str) and "e" in value.lower() else value
    except ValueError:
        return value


def _read(annotation: Any, value: Any, key: str, texts: Mapping[str, str]) -> Any:
    expected = list(alternatives(annotation))
    if isinstance(value, Mapping):
        for one in expected:
            if isinstance(one, type) and issubclass(one, BaseModel):
                return as_expected(one, value, below(key, texts))
            if isinstance(get_origin(one), type) and issubclass(get_origin(one), Mapping):
                return {
                    k: _read(get_args(one)[1], v, f"{key}.{k}", texts) for k, v in value.items()
                }
        return value
    if isinstance(value, list):
        inner = [get_args(one) for one in expected if get_origin(one) in (list, tuple)]
        if not inner:
            return value
        return [_read(_item(inner[0], i), v, f"{key}.{i}", texts) for i, v in enumerate(value)]
    return _scalar(expected, value, texts.get(key))


def _scalar(expected: list[Any], value: Any, text: str | None) -> Any:
    words = [word for one in expected if get_origin(one) is Literal for word in get_args(one)]
    numeric = int in expected or float in expected
    if isinstance(value, bool) and numeric and not {bool, str} & {*expected} and text not in words:
        return Written(text or str(value).lower())
    if isinstance(value, str):
        if not numeric or str in expected or Path in expected or value in words:
            return value
        return Written(value) if is_odd(value) else number(value)
    if (
        text is None
        or not isinstance(value, (bool, int, float, date))
        or _fits(expected, words, value)
    ):
        return value
    return text if str in expected or Path in expected or text in words else value


def _fits(expected: list[Any], words: list[Any], value: Any) -> bool:
    if any(value == word and type(value) is type(word) for word in words):
        return True
    if isinstance(value, bool):
        return bool in expected
    return (
        type(value) in expected
        or (isinstance(value, int) and float in expected)
        or (isinstance(value, float) and value.is_integer() and int in expected)
    )


def alternatives(annotation: Any) -> Iterator[Any]:
    """Members of a union, without their annotations."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from alternatives(one)
    else:
        yield annotation


def _item(inner: tuple[Any, ...], place: int) -> Any:
    """Type of item number `place` of list[inner], tuple[inner] or tuple[inner, ...]."""
    if not inner:
        return Any
    return inner[min(place, len(inner) - 1)] if inner[-1] is not Ellipsis else inner[0]
