"""The command `zslkit`: its commands, and how a failure is printed and numbered."""

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
from zslkit.cli.verb import debug_option
from zslkit.errors import UserError
from zslkit.utils import distributed

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Train and compare": {
        "models": "List the installed models, or show one with its settings.",
        "run": "Train and evaluate one model on one dataset.",
        "compare": "Run several models and seeds, and put them in one table.",
        "study": "Run all variants of a study file; write a table and a plot.",
        "config": "Show the settings that a run would use, and their origin.",
    },
    "Look at results": {
        "runs": "List the runs on disk; tag and remove them.",
        "evaluate": "Compute metrics of finished runs from their stored scores.",
        "diff": "Compare two runs, from settings down to single images.",
        "report": "Write a page about finished runs for a browser.",
        "predict": "Name the classes of your own photos with a trained model.",
        "explain": "Draw where a trained model looks, attribute by attribute.",
        "published": "List results that papers have published.",
    },
    "Data": {
        "datasets": "List the installed datasets.",
        "data": "Fetch, prepare, check and describe datasets.",
    },
    "Extend": {
        "new": "Write a package with a model or a dataset of your own to start from.",
        "check": "Test a model's code against the contract.",
        "trackers": "List the installed trackers, which show the progress of runs.",
    },
    "System": {
        "doctor": "Test this machine and installation.",
        "completion": "Print the script that completes commands in bash, zsh or fish.",
    },
}
"""Section of the help -> command -> its line in the help."""

COMPLETE = "_ZSLKIT_COMPLETE"
"""The variable by which a shell asks for completions."""


cli = LazyGroup(
    package="zslkit.cli",
    sections=SECTIONS,
    elsewhere={name: f"plugins:{name}" for name in ("models", "datasets", "trackers")}
    | {"check": "conformance:check"},
    help="Train and compare generalized zero-shot learning models, reproducibly.",
    example="zslkit run --model eszsl --dataset digits\nzslkit run --help",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
debug_option(cli)
click.version_option(__version__, prog_name="zslkit", message="%(prog)s %(version)s")(cli)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: None for those of this process, which then is the command's own: signals are
            heard, plugins cannot write to standard output, and the process ends here, whatever
            threads plugins have left.

    Returns:
        The exit code. 0: done. 1: a failure. 2: something the user can mend. 128 and its number
        for a signal that interrupted the command: 130 is Ctrl-C.
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
                "Standard output is closed, so the result has nowhere to go; if nobody needs it, "
                "add: > /dev/null"
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
                complete_var=COMPLETE,
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
    except SystemExit as error:
        # Raised by click where it answers a shell, or where nobody reads its help.
        return 0 if error.code == 0 and COMPLETE in os.environ else 1
    except BaseException as error:  # the last place where anything can be told in one sentence
        return exit_code_of(error, state)
