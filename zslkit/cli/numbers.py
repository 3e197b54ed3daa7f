"""Types of numeric options. Python takes 1_0 for 10, and who writes that on a command line has
mistyped."""

from __future__ import annotations

from typing import Any

import click


class Whole(click.IntRange):
    """A whole number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse_underscore(value, param, ctx)
        return super().convert(value, param, ctx)


class Real(click.FloatRange):
    """A number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse_underscore(value, param, ctx)
        return super().convert(value, param, ctx)


class AnyReal(click.types.FloatParamType):
    """Any number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse_underscore(value, param, ctx)
        return super().convert(value, param, ctx)


def _refuse_underscore(
    value: Any, param: click.Parameter | None, ctx: click.Context | None
) -> None:
    if isinstance(value, str) and "_" in value:
        raise click.BadParameter(f"{value!r} is not a valid number; write it without _", ctx, param)
