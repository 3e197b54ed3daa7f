"""The program that spoils files by the thousand reads whole ones; none of its readers dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "fuzz_readers.py"


@pytest.mark.slow
def test_every_reader_gets_spoilt_files_and_none_dies() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--seconds", "0.2"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [line.rsplit(None, 5) for line in done.stdout.splitlines()[1:-1]]
    assert [name.strip() for name, *_ in rows] == list(_readers())
    for name, tried, read, refused, died, _ in rows:
        assert int(tried) == int(read) + int(refused) > 0, name
        assert died == "0", name


def _readers() -> list[str]:
    from spoilt import SEEDS

    return list(SEEDS)
