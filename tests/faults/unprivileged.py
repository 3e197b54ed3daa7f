"""What a user may do who owns nothing: acts of a child process that gives its rights away, where
the tests run as root."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zslkit.cli.app import main

NOBODY = 65534


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """An empty folder that every user may enter, unlike pytest's own."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a system with users and fork")
    with tempfile.TemporaryDirectory(prefix="zslkit-open-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if apart(lambda: str(os.access(folder, os.R_OK | os.X_OK))) != "True":
            pytest.skip(
                f"a user without rights cannot enter {folder.parent}; set TMPDIR to a folder that "
                "all may enter"
            )
        yield folder


def told(*arguments: str) -> tuple[int, str, str]:
    """Exit code and what `zslkit` with these arguments writes to its two streams, given by a user
    without rights."""
    main(
        arguments
    )  # first with rights, so that all is imported: the child may not even read Python's own files

    def act() -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
        return f"{code}\0{out.getvalue()}\0{err.getvalue()}"

    code, out, err = apart(act).split("\0")
    return int(code), out, err


def apart(act: Callable[[], str]) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            said = act()
        except BaseException as error:
            said = f"1\0\0{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as file:
        said = file.read()
    os.waitpid(child, 0)
    return said
