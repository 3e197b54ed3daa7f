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
from zslkit.cli.verb import epilog
from zslkit.errors import ZslkitError, did_you_mean
from zslkit.utils.stops import PluginExit, contained, error_sentence, no_way_out


class LazyGroup(click.Group):
    """A group of commands that are not imported before they are called.

    Args:
        package: The package whose modules hold the commands, each called as its command.
        sections: Title in the help -> command -> its line in the help.
        example: Command lines that the help ends with.
        elsewhere: Command -> "module:function" below the package, where it is called otherwise.
    """

    def __init__(
        self,
        *args: Any,
        package: str,
        sections: Mapping[str, Mapping[str, str]],
        example: str,
        elsewhere: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"epilog": epilog(example), "invoke_without_command": True, "callback": _help}
        super().__init__(*args, **kwargs)
        self.package, self.sections, self.example = package, sections, example
        self.elsewhere = elsewhere or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, function = self.elsewhere.get(cmd_name, f"{cmd_name}:{cmd_name}").partition(":")
        command: click.Command = getattr(import_module(f"{self.package}.{module}"), function)
        if isinstance(command, click.Group):
            return command
        return guarded(command, ctx.find_object(State) or State())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if not args[0].startswith("-") and args[0] not in known:
            raise click.UsageError(
                f"There is no command {args[0]!r}{did_you_mean(args[0], known)}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))  # all sections in one line
        for title, lines in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, line in lines.items()])


@click.pass_context
def _help(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


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
            except (click.exceptions.Exit, click.Abort) as error:
                # Ours return their code and ask nothing.
                raise PluginExit("A plugin", error) from error
            except (EOFError, BrokenPipeError) as error:
                # click takes them for Ctrl-D and for a reader who has gone.
                text = f"Unexpected {error_sentence(error)}; --debug shows where"
                raise ZslkitError(text) from error

    own.callback = callback
    return own
