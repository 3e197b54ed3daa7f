"""A click group that imports a command when it is called, and not for the help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import wraps
from importlib import import_module
from typing import Any

import click

from zslkit.cli.failure import State
from zslkit.cli.output import apart
from zslkit.cli.verb import epilog
from zslkit.errors import ZslkitError, did_you_mean
from zslkit.utils.stops import PluginExit, contained, error_sentence, no_way_out


class LazyGroup(click.Group):
    """A group of commands that are not imported before they are called.

    Args:
        lazy: Name -> where the command is ("package.module:function"), and its line in the help.
        example: Command lines that the help ends with.
        sections: Title in the help -> names of the commands below it; default: one section.
    """

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, tuple[str, str]],
        example: str,
        sections: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, epilog=epilog(example), **kwargs)
        self.lazy, self.example = lazy, example
        self.sections = sections or {"Commands": list(lazy)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, function = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), function)
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
        width = max(map(len, self.lazy), default=0)  # all sections in one line
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), self.lazy[name][1]) for name in names])


def guarded(command: click.Command, state: State) -> click.Command:
    """The same command, whose results are kept apart from what plugins print, and which no plugin
    can end with exit code 0."""
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
                raise ZslkitError(
                    f"Unexpected {error_sentence(error)}; --debug shows where"
                ) from error

    own.callback = callback
    return own
