"""A command: its help ends with an example, and it takes --json and --debug."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.obj.debug = ctx.obj.debug or value


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_debug,
    help="Show the traceback of a failure.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)


class Verb(click.Command):
    """A command of zslkit, with --json (its function gets as_json) and --debug.

    Args:
        example: Command lines that work as printed, one a line.
    """

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epilog = epilog(example)
        self.example = example
        json_option(self)
        debug_option(self)
        self.context_settings.setdefault("show_default", True)


def verb(name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], Verb]:
    """Makes a function a Verb; options as of Verb and of click.command."""
    return click.command(name, cls=Verb, **options)


def given(ctx: click.Context) -> dict[str, str]:
    """Parameters that the command line gives, and how it spells them; without --debug."""
    source = click.core.ParameterSource.COMMANDLINE
    return {
        str(param.name): param.opts[0]
        for param in ctx.command.params
        if param.expose_value and ctx.get_parameter_source(str(param.name)) == source
    }


def refuse(*rules: tuple[object, str]) -> None:
    """Raises UsageError with the sentence of the first rule that holds."""
    for holds, sentence in rules:
        if holds:
            raise click.UsageError(sentence)


def epilog(example: str) -> str:
    """The end of a command's help. The \\b keeps click from joining the lines."""
    lines = example.splitlines()
    return "\n".join(["\b", f"Example{'s' * (len(lines) > 1)}:", *(f"  {line}" for line in lines)])
