"""Progress: where it goes, how often, and what it says."""

from __future__ import annotations

import io
import sys

import pytest

from zslkit.utils.progress import (
    EVERY,
    PlainReporter,
    Reporter,
    RichReporter,
    Silent,
    duration,
    reporter_for,
)

SHOW_CURSOR = "\x1b[?25h"
"""What a terminal is told when a display ends."""


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_quick_phase_leaves_one_line() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainReporter(stream, clock).phase("train", 200) as phase:
        for step in range(200):
            clock.now += 0.01
            phase.advance(loss=1.0 / (step + 1))
    assert stream.getvalue() == "train: 200/200, loss 0.005, 2.0 s\n"


def test_a_long_phase_speaks_once_in_a_while_and_says_what_is_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainReporter(stream, clock).phase("extract", 40) as phase:
        for _ in range(40):
            clock.now += 1
            phase.advance()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 40 / EVERY + 1
    assert lines[0] == "extract: 10/40, 10 s, about 30 s left"
    assert lines[-1] == "extract: 40/40, 40 s"


def test_without_a_total_the_count_stands_alone() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainReporter(stream, clock).phase("fit") as phase:
        clock.now = 11
        phase.advance(3)
    assert stream.getvalue() == "fit: 3, 11 s\nfit: 3, 11 s\n"
    with PlainReporter(stream, clock).phase("closed form"):
        pass
    assert stream.getvalue().endswith("closed form: done, 0.0 s\n")


def test_a_phase_that_fails_says_so() -> None:
    stream = io.StringIO()
    with (
        pytest.raises(ValueError, match="x"),
        PlainReporter(stream, Clock()).phase("train", 5) as phase,
    ):
        phase.advance()
        raise ValueError("x")
    assert stream.getvalue() == "train: 1/5, stopped after 0.0 s\n"


def test_the_stream_decides() -> None:
    assert isinstance(reporter_for(io.StringIO()), PlainReporter)
    assert isinstance(reporter_for(Terminal()), RichReporter)


def test_without_a_stream_there_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert isinstance(reporter_for(), Silent)


def test_plain_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    reporter_for().note("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    use(Silent())
    assert capsys.readouterr() == ("", "")


def test_bars_may_be_nested_and_leave_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Terminal()
    use(RichReporter(stream))
    text = stream.getvalue()
    assert text.index("outer: ") < text.index(SHOW_CURSOR)  # one display from start to end
    assert "outer: " in text and "inner: " in text and "[careful]" in text
    assert capsys.readouterr() == ("", "")


def test_bars_end_when_a_phase_fails() -> None:
    stream = Terminal()
    reporter = RichReporter(stream)
    with pytest.raises(KeyboardInterrupt), reporter.phase("train", 3):
        raise KeyboardInterrupt
    assert "train: stopped after" in stream.getvalue()
    use(reporter)  # and the next ones start again


def use(reporter: Reporter) -> None:
    with reporter.phase("outer", 2) as outer:
        with reporter.phase("inner", None) as inner:
            inner.advance(loss=0.5)
        reporter.note("a note [careful]")
        outer.advance(2)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
