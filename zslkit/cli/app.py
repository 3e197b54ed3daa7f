"""The command `zslkit`: which commands there are, and how a failure is told and numbered."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click

from zslkit import __version__
from zslkit.cli.failure import State, exit_code_of
from zslkit.errors import did_you_mean

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("zslkit.cli.run", "Train and evaluate one model on one dataset."),
    "compare": ("zslkit.cli.compare", "Several models and seeds in one table; runs only what is missing."),
    "study": ("zslkit.cli.study", "All variants of a study file, as a table and a plot; runs only what is missing."),
    "evaluate": ("zslkit.cli.evaluate", "Metrics of finished runs from the scores they kept."),
    "explain": ("zslkit.cli.explain", "Where a trained model looks in images, attribute by attribute."),
    "config": ("zslkit.cli.config", "What a run would use, and where each value comes from."),
    "models": ("zslkit.cli.plugins", "The models that are installed, or all about one of them."),
    "datasets": ("zslkit.cli.plugins", "The datasets that are installed."),
}
"""Command name -> the module that holds it under that name, and its line in the help."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, and not for the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"There is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.version_option(__version__, prog_name="zslkit", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Train and compare generalized zero-shot learning models, reproducibly."""
    ctx.obj.debug = ctx.obj.debug or debug
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: a failure. 2: something the user can mend. 130: interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # only real text streams can be told
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    state = State()
    try:
        result = cli.main(arguments, prog_name="zslkit", standalone_mode=False, obj=state)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:  # the last place where anything can still be told in one sentence
        return exit_code_of(error, state)
