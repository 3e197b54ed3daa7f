"""The command `zslkit`: which commands there are, and how a failure is told and numbered."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence

import click

from zslkit import __version__
from zslkit.cli import process
from zslkit.cli.failure import State, exit_code_of, interrupted
from zslkit.cli.lazy import LazyGroup
from zslkit.cli.output import ReaderGone, flush
from zslkit.errors import UserError
from zslkit.utils import distributed

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("zslkit.cli.run:run", "Train and evaluate one model on one dataset."),
    "compare": (
        "zslkit.cli.compare:compare",
        "Several models and seeds in one table; runs only what is missing.",
    ),
    "study": (
        "zslkit.cli.study:study",
        "All variants of a study file, as a table and a plot; runs only what is missing.",
    ),
    "report": (
        "zslkit.cli.report:report",
        "Finished runs as a page for a browser, in a folder of its own.",
    ),
    "evaluate": (
        "zslkit.cli.evaluate:evaluate",
        "Metrics of finished runs from the scores they kept.",
    ),
    "runs": (
        "zslkit.cli.runs:runs",
        "The runs that are there, finished or not; tag and remove them.",
    ),
    "diff": (
        "zslkit.cli.diff:diff",
        "Two runs against each other, from settings to single images.",
    ),
    "predict": (
        "zslkit.cli.predict:predict",
        "The classes of photos of your own, by a trained model.",
    ),
    "explain": (
        "zslkit.cli.explain:explain",
        "Where a trained model looks in images, attribute by attribute.",
    ),
    "data": ("zslkit.cli.data:data", "Fetch, prepare, check and describe datasets."),
    "new": ("zslkit.cli.new:new", "A package with a model or a dataset of your own to start from."),
    "check": (
        "zslkit.cli.conformance:check",
        "Does a model keep the contract? Every rule is tried on a tiny dataset.",
    ),
    "doctor": (
        "zslkit.cli.doctor:doctor",
        "Does everything work here: Python, devices, plugins, data, disk.",
    ),
    "config": (
        "zslkit.cli.config:config",
        "What a run would use, and where each value comes from.",
    ),
    "models": (
        "zslkit.cli.plugins:models",
        "The models that are installed, or all about one of them.",
    ),
    "completion": (
        "zslkit.cli.completion:completion",
        "The script that completes names and settings in bash, zsh or fish.",
    ),
    "published": (
        "zslkit.cli.published:published",
        "Results that others have published, and how sure we are of them.",
    ),
    "datasets": ("zslkit.cli.plugins:datasets", "The datasets that are installed."),
    "trackers": (
        "zslkit.cli.plugins:trackers",
        "The trackers that are installed, which show how a run goes.",
    ),
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

    0: done. 1: a failure. 2: something the user can mend. 128 and the number of the signal that interrupted it: 130 is Ctrl-C.

    arguments: None for those of this process, which then is the command's own: signals are heard, plugins cannot write to standard
    output, and the process ends here, whatever threads plugins have left. With arguments it is a call like any other.
    """
    state = State(arguments=tuple(sys.argv[1:] if arguments is None else arguments))
    if arguments is not None:
        return _answer(state)
    state.own_process, state.launched = True, process.launched()
    return process.run(
        lambda: _answer(state),
        lambda error: exit_code_of(error, state),
        lambda signum: interrupted(signum, state),
    )


def _answer(state: State) -> int:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # only real text streams can be told
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if sys.stdout is None:
            raise UserError(
                "Standard output is closed, so the result has nowhere to go; if nobody needs it, add: > /dev/null"
            )
        with (
            contextlib.redirect_stdout(open(os.devnull, "w"))
            if distributed.bystander()
            else contextlib.nullcontext()
        ):
            # None lets click read them itself, which on Windows unfolds *.jpg.
            result = cli.main(
                None if state.own_process else state.arguments,
                prog_name="zslkit",
                standalone_mode=False,
                obj=state,
            )
        distributed.leave()
        flush()
        return result if isinstance(result, int) else 0
    except ReaderGone:
        # Python would complain once more when it closes a stream that nobody reads.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        BaseException
    ) as error:  # the last place where anything can still be told in one sentence
        return exit_code_of(error, state)
