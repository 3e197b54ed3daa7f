"""The command `zslkit`: which commands there are, and how a failure is told and numbered."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence

import click

from zslkit import __version__, ranks
from zslkit.cli.failure import State, exit_code_of
from zslkit.cli.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("zslkit.cli.run:run", "Train and evaluate one model on one dataset."),
    "compare": ("zslkit.cli.compare:compare", "Several models and seeds in one table; runs only what is missing."),
    "study": ("zslkit.cli.study:study", "All variants of a study file, as a table and a plot; runs only what is missing."),
    "report": ("zslkit.cli.report:report", "Finished runs as a page for a browser, in a folder of its own."),
    "evaluate": ("zslkit.cli.evaluate:evaluate", "Metrics of finished runs from the scores they kept."),
    "runs": ("zslkit.cli.runs:runs", "The runs that are there, finished or not; tag and remove them."),
    "diff": ("zslkit.cli.diff:diff", "Two runs against each other, from settings to single images."),
    "predict": ("zslkit.cli.predict:predict", "The classes of photos of your own, by a trained model."),
    "explain": ("zslkit.cli.explain:explain", "Where a trained model looks in images, attribute by attribute."),
    "data": ("zslkit.cli.data:data", "Fetch, prepare, check and describe datasets."),
    "new": ("zslkit.cli.new:new", "A package with a model or a dataset of your own to start from."),
    "check": ("zslkit.cli.conformance:check", "Does a model keep the contract? Every rule is tried on a tiny dataset."),
    "doctor": ("zslkit.cli.doctor:doctor", "Does everything work here: Python, devices, plugins, data, disk."),
    "config": ("zslkit.cli.config:config", "What a run would use, and where each value comes from."),
    "models": ("zslkit.cli.plugins:models", "The models that are installed, or all about one of them."),
    "completion": ("zslkit.cli.completion:completion", "The script that completes names and settings in bash, zsh or fish."),
    "published": ("zslkit.cli.published:published", "Results that others have published, and how sure we are of them."),
    "datasets": ("zslkit.cli.plugins:datasets", "The datasets that are installed."),
    "trackers": ("zslkit.cli.plugins:trackers", "The trackers that are installed, which show how a run goes."),
}
"""Command name -> the function that holds it, and its line in the help."""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
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
    state = State(arguments=tuple(sys.argv[1:] if arguments is None else arguments))
    try:
        with contextlib.redirect_stdout(open(os.devnull, "w")) if ranks.bystander() else contextlib.nullcontext():
            result = cli.main(arguments, prog_name="zslkit", standalone_mode=False, obj=state)
        ranks.leave()
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:  # the last place where anything can still be told in one sentence
        return exit_code_of(error, state)
