"""The command line in a process that is watched: no network, a bounded memory, and what each
command says and costs as one JSON line.

    python tests/hostile/guarded.py < [["runs", "--out", "x"], ...]

One process for many commands, since starting it takes longer than all of them.
"""

from __future__ import annotations

import io
import json
import resource
import signal
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

ROOM = 24 << 30
"""Bytes of address space: far above what torch reserves without touching it, and far below what a
bomb asks for."""

LONGEST = 100
"""Seconds after which a command counts as one that never ends."""


class Network(BaseException):
    """A connection was asked for. No Exception, so that nothing takes it for a failure it can live
    with."""


def refused(*arguments: Any, **options: Any) -> Any:
    raise Network(f"a connection was asked for: {arguments}")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    socket.socket.connect = refused  # type: ignore[method-assign]
    socket.create_connection = socket.getaddrinfo = refused
    import torch  # noqa: F401 -- its own memory is no command's

    from zslkit.cli import app

    answers, stdout = [], sys.stdout
    for arguments in json.load(sys.stdin):
        out, err = io.StringIO(), io.StringIO()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with redirect_stdout(out), redirect_stderr(err):
            signal.alarm(LONGEST)
            code = app.main(arguments)
            signal.alarm(0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        answers.append({"code": code, "out": out.getvalue(), "err": err.getvalue(), "mb": grown})
    json.dump(answers, stdout)


if __name__ == "__main__":
    main()
