"""How a failure is told: one sentence on standard error, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from zslkit import ranks
from zslkit.errors import ZslkitError
from zslkit.files import disk_full, why
from zslkit.printable import bounded, printable


@dataclass
class State:
    """What the commands tell the frame around them.

    debug: show tracebacks. resumes: the command keeps checkpoints, so the same command goes on after an interruption.
    arguments: the command line, without the program.
    """

    debug: bool = False
    resumes: bool = False
    arguments: Sequence[str] = ()


def tell(sentence: str) -> None:
    """Write one sentence to standard error, on one line whatever the names in it hold.

    Of several processes, those that are not the first say who they are.
    """
    if ranks.bystander() and not ranks.joined():
        return  # up to there all go the same way, and the first one says the same
    who = f"process {int(os.environ['RANK']) + 1} of {os.environ['WORLD_SIZE']}: " if ranks.bystander() else ""
    print(f"zslkit: {who}{bounded(printable(sentence))}", file=sys.stderr, flush=True)


def tell_traceback(error: BaseException) -> None:
    """Write where the error came from to standard error; its lines stay, and nothing in them commands the terminal."""
    text = "".join(traceback.format_exception(error))
    print("\n".join(printable(line) for line in text.split("\n")), file=sys.stderr, end="", flush=True)


def exit_code_of(error: BaseException, state: State) -> int:
    """Tell the error and return the exit code that goes with it."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if state.debug and not isinstance(error, click.ClickException):
        tell_traceback(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        kept = "; what was checkpointed is kept, and the same command resumes from there" if state.resumes else ""
        tell(f"Interrupted{kept}")
        return 130
    tell(sentence(error, state))
    if isinstance(error, (click.ClickException, ZslkitError)):
        return error.exit_code
    return 1


def sentence(error: BaseException, state: State) -> str:
    """What went wrong and what to do about it."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text = error.format_message()
        return f"{text}{'' if text.endswith(('.', '?')) else '.'} See: {error.ctx.command_path} --help"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ZslkitError):
        return str(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's own, told by name since torch may not be there yet
        return "The device is out of memory; lower train.batch_size, which is another run, or give the same command with --device cpu"
    if full := is_disk_full(error):
        where = f" ({full.filename})" if isinstance(full, OSError) and full.filename else ""
        again = ", which resumes from the last checkpoint" if state.resumes else ""
        return f"The disk is full{where}; make room and give the same command again{again}"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        mend = "check the disk, or name a place on another one" if error.errno in (errno.EROFS, errno.EIO) else ""
        return f"{where}{why(error)}; {mend or 'check the path and its permissions'}"
    hint = "" if state.debug else "; --debug shows where"
    text = " ".join(str(error).split())
    return f"Unexpected {type(error).__name__}{': ' + text if text else ''}{hint}"


def is_disk_full(error: BaseException) -> BaseException | None:
    """The error itself or the cause of it that says the disk is full; None if none does."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if disk_full(link):
            return link
        link = link.__cause__ or link.__context__
    return None
