"""Separates stops by the user or the system from attempts of a plugin to end the program.

`listen` and `deaf` change the whole process and are for the command line only; the rest also serves
library calls.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from zslkit.errors import ZslkitError

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that ask a process to end: Ctrl-C, `kill` or a batch system, a closed terminal."""

end_process = os._exit
"""The original, before `no_way_out` replaces it."""

_received: list[int] = []
_listening = False


class Stop(KeyboardInterrupt):
    """The user or the system asks the process to end."""

    def __init__(self, signum: int = signal.SIGINT) -> None:
        self.signum = int(signum)
        super().__init__(signal.Signals(signum).name)


class PluginExit(ZslkitError):
    """Code of a plugin tried to end the program."""

    def __init__(self, who: str, error: BaseException) -> None:
        super().__init__(
            f"{who} tries to end the whole program: {error_sentence(error)}{_at(error)}; it may "
            "raise an Exception instead"
        )


def listen(
    last_word: Callable[[int], object] | None = None, signals: Sequence[int] = SIGNALS
) -> None:
    """Raise Stop in the main thread on these signals, except those ignored already.

    Args:
        last_word: Called in a separate thread with the first signal when a second one arrives; the
            process then ends at once with the exit code of the first. The thread is woken by the
            system, so a main thread that is busy in native code or cleaning up cannot delay the
            end. None: a second signal has no effect.
    """
    global _listening
    _listening = True
    heard = [
        s for s in signals if signal.getsignal(s) in (signal.SIG_DFL, signal.default_int_handler)
    ]
    for signum in heard:
        signal.signal(signum, _stop)
    if not heard or last_word is None:
        return
    reading, writing = os.pipe()
    if os.name != "nt":  # Windows does not need it
        os.set_blocking(writing, False)
        # A forked process must not write into this pipe: its Ctrl-C would count as a second one.
        os.register_at_fork(after_in_child=_deafened_fork)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, last_word), daemon=True).start()


def deaf() -> None:
    """Ignore these signals from now on; called when the result and the exit code are known."""
    for signum in SIGNALS:
        with contextlib.suppress(ValueError, OSError):  # not in the main thread
            signal.signal(signum, signal.SIG_IGN)


def received() -> int | None:
    """The signal that asked this process to end, or None."""
    return _received[0] if _received else None


def is_stop(error: BaseException) -> bool:
    """Whether the user or the system caused the error.

    While `listen` is active, a bare KeyboardInterrupt without a signal comes from a plugin.
    """
    return isinstance(error, Stop) or (
        type(error) is KeyboardInterrupt and (not _listening or bool(_received))
    )


@contextmanager
def contained(who: str) -> Iterator[None]:
    """Around code of a plugin `who`: turn anything but an Exception into PluginExit.

    Do not put a `yield` inside the block. Stop and a real Ctrl-C pass.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if is_stop(error):
            raise
        raise PluginExit(who, error) from error


@contextmanager
def no_way_out() -> Iterator[None]:
    """Inside the block, os._exit raises SystemExit in this process, for `contained` to report.

    Forked processes may still use it. An exit() of native code cannot be stopped; run such code in
    a separate process.
    """
    own, places = os.getpid(), (os, sys.modules[os.name])  # os imports it from posix or nt
    before = os._exit

    def refused(status: int) -> None:
        if os.getpid() != own:
            before(status)
        raise SystemExit(f"os._exit({status})")

    for place in places:
        place._exit = refused  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for place in places:
            place._exit = before  # type: ignore[attr-defined]


def error_sentence(error: BaseException) -> str:
    """Type and text of an error, also if its __str__ fails."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a plugin's __str__ may even call exit()
        text = ""
    return f"{type(error).__name__}{': ' + text if text else ''}"


def _at(error: BaseException) -> str:
    """File and line of an error, for the author of the plugin."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _stop(signum: int, frame: FrameType | None) -> None:
    _received.append(signum)
    if len(_received) == 1:  # a second one would interrupt the clean-up
        raise Stop(signum)


def _watch(reading: int, last_word: Callable[[int], object]) -> None:
    seen: list[int] = []
    while data := os.read(reading, 64):
        seen += [signum for signum in data if signum in SIGNALS]
        if len(seen) > 1:
            with contextlib.suppress(BaseException):
                last_word(seen[0])
            end_process(128 + seen[0])


def _deafened_fork() -> None:
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
