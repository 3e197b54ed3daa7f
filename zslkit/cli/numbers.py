"""Types of numeric options. Python takes 1_0 for 10, and who writes that on a command line has
mistyped."""

from __future__ import annotations

from typing import Any

import click


class _Plain(click.ParamType[Any]):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "_" in value:
            text = f"{value!r} is not a valid number; write it without _"
            raise click.BadParameter(text, ctx, param)
        return super().convert(value, param, ctx)


class Whole(_Plain, click.IntRange):
    """A whole number in a range."""


class Real(_Plain, click.FloatRange):
    """A number in a range."""


class AnyReal(_Plain, click.types.FloatParamType):
    """Any number."""
