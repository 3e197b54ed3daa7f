"""Who may end the program: the user and the system, by a signal; no plugin, by exit() or an exception of its own making.

`listen` and `deaf` change the whole process, so the command line alone calls them; the rest serves a library call too.
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
"""What asks a process to end: Ctrl-C, `kill` or a batch system, a terminal that was closed (not on Windows)."""

end_process = os._exit
"""The real one, since `no_way_out` puts another in its place."""

_received: list[int] = []
_listening = False


class Stop(KeyboardInterrupt):
    """The user or the system asks the process to end. signum: by which signal."""

    def __init__(self, signum: int = signal.SIGINT) -> None:
        self.signum = int(signum)
        super().__init__(signal.Signals(signum).name)


class PluginExit(ZslkitError):
    """Code of a plugin tried to end the whole program."""

    def __init__(self, who: str, error: BaseException) -> None:
        super().__init__(
            f"{who} tries to end the whole program: {told(error)}{_at(error)}; it may raise an "
            "Exception instead"
        )


def listen(
    last_word: Callable[[int], object] | None = None, signals: Sequence[int] = SIGNALS
) -> None:
    """From now on the signals raise Stop in the main thread, but for those that the process was started to ignore.

    last_word: is called with the first signal when a second one comes, from a thread of its own; then the process ends at once,
    with the exit code of the first. The thread is told by the system, so that a main thread that is busy in native code, or
    cleans up, neither delays the end nor is torn up half way. None: a second signal has no effect.
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
    if os.name != "nt":  # where a pipe cannot be told so, and need not
        os.set_blocking(writing, False)
        # A process that a plugin forks must not write into this pipe: its Ctrl-C would count as our second.
        os.register_at_fork(after_in_child=_deafened_fork)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, last_word), daemon=True).start()


def deaf() -> None:
    """From now on no signal of these disturbs the end of the process: its result is out and its exit code is known."""
    for signum in SIGNALS:
        with contextlib.suppress(ValueError, OSError):  # not in the main thread
            signal.signal(signum, signal.SIG_IGN)


def received() -> int | None:
    """The signal that asked this process to end; None if none did."""
    return _received[0] if _received else None


def is_stop(error: BaseException) -> bool:
    """Whether the user or the system is behind it. Who listens for signals knows that a bare KeyboardInterrupt is a plugin's."""
    return isinstance(error, Stop) or (
        type(error) is KeyboardInterrupt and (not _listening or bool(_received))
    )


@contextmanager
def contained(who: str) -> Iterator[None]:
    """Around code of a plugin, and never around a `yield`: what it raises beside Exception becomes PluginExit.

    who: the plugin, as the beginning of a sentence. Stop and a real Ctrl-C go through.
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
    """Within this part os._exit raises SystemExit in this process, which `contained` then tells; forked processes may use it.

    It cannot help against an exit() of native code; where that matters, a run belongs into a process of its own.
    """
    own, places = os.getpid(), (os, sys.modules[os.name])  # os has it from posix or nt
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


def told(error: BaseException) -> str:
    """Kind and text of an error whose own text may fail."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a stranger's __str__ may even call exit()
        text = ""
    return f"{type(error).__name__}{': ' + text if text else ''}"


def _at(error: BaseException) -> str:
    """Where its author has to look."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _stop(signum: int, frame: FrameType | None) -> None:
    _received.append(signum)
    if len(_received) == 1:  # a second one would tear up what the first lets end in order
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
