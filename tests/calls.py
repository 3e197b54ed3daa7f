"""The command line called in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zslkit.cli import app

Go = Callable[..., tuple[int, str, str]]


def caller(capsys: pytest.CaptureFixture[str]) -> Go:
    """go(words...) calls the command: its exit status, its output and its errors."""

    def go(*words: object) -> tuple[int, str, str]:
        code = app.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return go
