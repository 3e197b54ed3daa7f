"""The command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

collect_ignore = ["earlier_plugins"]
"""Packages that a test installs, with tests of their own."""


@pytest.fixture
def zslkit(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """zslkit(arguments..., path=[folders on PYTHONPATH]) runs the command in an empty folder."""

    def call(*arguments: str, path: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "COLUMNS": "100",
        }
        command = [sys.executable, "-P", "-m", "zslkit", *arguments]
        return subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call
