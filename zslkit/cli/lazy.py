"""A click group that imports a command when it is called, and not for the help."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import wraps
from importlib import import_module
from typing import Any

import click

from zslkit.cli.failure import State
from zslkit.cli.output import apart
from zslkit.errors import ZslkitError, did_you_mean
from zslkit.utils.stops import PluginExit, contained, no_way_out, told


class LazyGroup(click.Group):
    """lazy: name -> where it is ("package.module:function"), and its line in the help."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, function = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), function)
        if ctx.resilient_parsing:  # a shell asks for completions
            from zslkit.cli.completion import completed

            return completed(command)
        return (
            command
            if isinstance(command, click.Group)
            else guarded(command, ctx.find_object(State) or State())
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in self.lazy:
            raise click.UsageError(
                f"There is no command {args[0]!r}{did_you_mean(args[0], self.lazy)}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.lazy:  # click's table of two columns cannot be empty
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.lazy.items()])


def guarded(command: click.Command, state: State) -> click.Command:
    """The same command, whose results are kept apart from what plugins print, and which no plugin can end with exit code 0."""
    inner, own = command.callback, copy(command)
    assert inner is not None

    @wraps(inner)
    def callback(*args: Any, **kwargs: Any) -> Any:
        with apart(descriptor=state.own_process), no_way_out():
            try:
                with contained("A plugin"):
                    return inner(*args, **kwargs)
            except (
                click.exceptions.Exit,
                click.Abort,
            ) as error:  # ours return their code and ask nothing
                raise PluginExit("A plugin", error) from error
            except (
                EOFError,
                BrokenPipeError,
            ) as error:  # click takes them for Ctrl-D and for a reader who has gone
                raise ZslkitError(f"Unexpected {told(error)}; --debug shows where") from error

    own.callback = callback
    return own
