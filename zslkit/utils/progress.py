"""Shows progress: bars on a terminal, plain lines in a pipe, or nothing.

Everything goes to standard error, so that standard output contains results only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from zslkit.utils.printable import bounded, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY = 10.0
"""Seconds between two plain lines of one phase."""
WIDEST = 100
"""Most characters of a name beside a bar."""


class Phase(Protocol):
    """Work in progress."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Count n more steps; `figures` are shown beside the count, such as loss=0.3."""
        ...


class Reporter(Protocol):
    """Destination of progress."""

    def phase(self, name: str, total: int | None = None) -> AbstractContextManager[Phase]:
        """Start a phase of `total` steps (None: unknown). Phases may be nested."""
        ...

    def note(self, text: str) -> None:
        """Print one line that stays."""
        ...


class Silent:
    """Prints nothing; the default of library calls."""

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Phase]:
        yield self

    def advance(self, n: int = 1, **figures: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class PlainReporter:
    """Lines for a pipe or a log file: one every EVERY seconds at most, and one after each phase."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock

    def note(self, text: str) -> None:
        print(bounded(printable(text)), file=self._stream, flush=True)

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Phase]:
        phase = _PlainPhase(self, name, total, self._clock)
        try:
            yield phase
        except BaseException:
            self.note(f"{phase}, stopped after {duration(phase.elapsed)}")
            raise
        self.note(f"{phase}, {duration(phase.elapsed)}")


class _PlainPhase:
    def __init__(
        self, reporter: PlainReporter, name: str, total: int | None, clock: Callable[[], float]
    ) -> None:
        self._reporter, self._name, self._total, self._clock = reporter, name, total, clock
        self._done, self._figures = 0, ""
        self._start = self._last = clock()

    @property
    def elapsed(self) -> float:
        return self._clock() - self._start

    def advance(self, n: int = 1, **figures: float) -> None:
        self._done += n
        self._figures = _figures(figures) or self._figures
        now = self._clock()
        if now - self._last >= EVERY:
            self._last = now
            self._reporter.note(f"{self}, {duration(self.elapsed)}{self._left()}")

    def _left(self) -> str:
        if not self._total or not 0 < self._done <= self._total:
            return ""
        return f", about {duration(self.elapsed / self._done * (self._total - self._done))} left"

    def __str__(self) -> str:
        count = f"{self._done or 'done'}"
        if self._total is not None:
            count = f"{self._done}/{self._total}"
        return f"{self._name}: {count}{self._figures and ', ' + self._figures}"


class RichReporter:
    """Progress bars for a terminal. A finished phase leaves one line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self._console = Console(file=stream) if stream is not None else Console(stderr=True)
        self._bars: Progress | None = None
        self._open = 0

    def note(self, text: str) -> None:
        self._console.print(bounded(printable(text)), markup=False, highlight=False)

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Phase]:
        bars = self._start()
        task = bars.add_task(bounded(printable(name), WIDEST), total=total, figures="")
        start, ended = time.monotonic(), "stopped after "
        try:
            yield _RichPhase(bars, task)
            ended = ""
        finally:
            bars.remove_task(task)
            self.note(f"{name}: {ended}{duration(time.monotonic() - start)}")
            self._stop()

    def _start(self) -> Progress:
        # rich allows one live display at a time, so nested phases share it.
        if self._bars is None:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        self._open += 1
        return self._bars

    def _stop(self) -> None:
        self._open -= 1
        if self._open == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None


class _RichPhase:
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, n: int = 1, **figures: float) -> None:
        if figures:
            self._bars.update(self._task, advance=n, figures=_figures(figures))
        else:
            self._bars.advance(self._task, n)


def reporter_for(stream: TextIO | None = None) -> Reporter:
    """Bars if the stream (standard error) is a terminal, else plain lines; nothing without one."""
    stream = sys.stderr if stream is None else stream
    if stream is None:  # programs without a console, such as pythonw
        return Silent()
    return RichReporter(stream) if stream.isatty() else PlainReporter(stream)


def duration(seconds: float) -> str:
    """Seconds as text: '0.4 s', '12 s', '3 min 20 s', '2 h 5 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
