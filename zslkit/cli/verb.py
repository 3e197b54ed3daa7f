"""A command: its help ends with an example, it takes --json and --debug, and former spellings of
its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from zslkit.cli.failure import tell

Renames = Mapping[str, str]


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
        formerly: Former spelling of an option -> its spelling now, or a function that chooses
            this mapping by the arguments. Former spellings work with a note on standard error;
            help and completion do not list them.
    """

    def __init__(
        self,
        *args: Any,
        example: str,
        formerly: Renames | Callable[[Sequence[str]], Renames] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.epilog = epilog(example)
        self.example, self.formerly = example, formerly or {}
        json_option(self)
        debug_option(self)
        self.context_settings.setdefault("show_default", True)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)  # arguments follow, no options
        former = self.formerly(args[:end]) if callable(self.formerly) else self.formerly
        head = []
        for arg in args[:end]:
            name, equals, value = arg.partition("=")
            if name in former:
                arg = f"{former[name]}{equals}{value}"
                if not ctx.resilient_parsing:
                    used(name, former[name])
            head.append(arg)
        return super().parse_args(ctx, [*head, *args[end:]])


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


def used(old: str, new: str) -> None:
    """Note on standard error that a former spelling was used."""
    tell(f"{old} is called {new} now; write {new}, because a later release refuses {old}")
