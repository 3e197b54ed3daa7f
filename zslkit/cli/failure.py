"""How a failure is told: one sentence on standard error, and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from zslkit.errors import ZslkitError
from zslkit.utils import distributed, stops
from zslkit.utils.files import disk_full, why
from zslkit.utils.printable import bounded, printable

_telling = threading.Lock()


@dataclass
class State:
    """What the commands tell the frame around them."""

    debug: bool = False
    resumes: bool = False  # after an interruption the same command goes on, from checkpoints
    arguments: Sequence[str] = ()  # the command line, without the program
    own_process: bool = False  # the process is there for this command alone and ends with it
    launched: bool = False  # by a command that tells of interruptions itself
    stopped: bool = False  # an interruption was told


def tell(sentence: str) -> None:
    """Write one sentence to standard error, on one line whatever the names in it hold.

    Of several processes, those that are not the first say who they are.
    """
    who = ""
    if distributed.bystander():
        if not distributed.joined():
            return  # up to there all go the same way, and the first one says the same
        who = f"process {int(os.environ['RANK']) + 1} of {os.environ['WORLD_SIZE']}: "
    with contextlib.suppress(BrokenPipeError):  # whoever read it has gone
        print(f"zslkit: {who}{bounded(printable(sentence))}", file=sys.stderr, flush=True)


def tell_traceback(error: BaseException) -> None:
    """Write where the error came from to standard error; its lines stay, and nothing in them
    commands the terminal."""
    lines = "".join(traceback.format_exception(error)).split("\n")
    print("\n".join(map(printable, lines)), file=sys.stderr, end="", flush=True)


def exit_code_of(error: BaseException, state: State) -> int:
    """Tell the error and return the exit code that goes with it, which is never 0."""
    if isinstance(error, SystemExit):  # click's, when nobody reads its help; plugins' are caught
        return 1
    if state.debug and not isinstance(error, click.ClickException):
        tell_traceback(error)
    if (signum := stops.received()) or isinstance(error, (KeyboardInterrupt, click.Abort)):
        stop = error.__cause__ or error  # click makes an Abort of it
        return interrupted(signum or int(getattr(stop, "signum", signal.SIGINT)), state)
    tell(sentence(error, state))
    code = error.exit_code if isinstance(error, (click.ClickException, ZslkitError)) else 1
    return code if code in range(1, 256) else 1


def interrupted(signum: int, state: State) -> int:
    """Tell once that the command was interrupted, and return the exit code: 130 after Ctrl-C, 143
    after SIGTERM, 129 after SIGHUP."""
    kept = "; what was checkpointed is kept, and the same command resumes from there"
    by = f" by {signal.Signals(signum).name}" if signum != signal.SIGINT else ""
    # A second signal is told by a thread of its own, and ends the process after it.
    held = _telling.acquire(timeout=1)
    try:
        if not (state.stopped or state.launched or distributed.bystander()):
            state.stopped = True
            tell(f"Interrupted{by}{kept if state.resumes else ''}")
    finally:
        if held:
            _telling.release()
    return 128 + signum


def sentence(error: BaseException, state: State) -> str:
    """What went wrong and what to do about it."""
    try:
        return _sentence(error, state)
    except BaseException as fault:  # a stranger's __str__ may even call exit()
        if stops.is_stop(fault):
            raise
        own = f"whose own text cannot be read ({type(fault).__name__})"
        return f"Unexpected {type(error).__name__}, {own}"


def _sentence(error: BaseException, state: State) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text = error.format_message()
        end = "" if text.endswith((".", "?")) else "."
        return f"{text}{end} See: {error.ctx.command_path} --help"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ZslkitError):
        return str(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's; torch may not be there yet
        return (
            "The device is out of memory; lower train.batch_size, which is another run, or give "
            "the same command with --device cpu"
        )
    if full := is_disk_full(error):
        where = f" ({full.filename})" if isinstance(full, OSError) and full.filename else ""
        again = ", which resumes from the last checkpoint" if state.resumes else ""
        return f"The disk is full{where}; make room and give the same command again{again}"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        of_disk = error.errno in (errno.EROFS, errno.EIO)
        mend = "disk, or name a place on another one" if of_disk else "path and its permissions"
        return f"{where}{why(error)}; check the {mend}"
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
