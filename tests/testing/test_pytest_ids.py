"""parametrize_with_checks in a stranger's test file: one id for every model and check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = """
from typing import ClassVar

from zslkit.testing import parametrize_with_checks
from test_checks import NoCitation


class Careless(NoCitation):
    expected_failures: ClassVar = {"citation": "nobody wrote it down", "contract": "it was so once"}


SKIPPED = ["learns", "resumes", "bfloat16", "no_global_state", "gradients"]


@parametrize_with_checks([NoCitation, Careless, "eszsl"], skip=SKIPPED)
def test_contract(check):
    check()
"""


@pytest.mark.slow
def test_each_check_is_an_id_with_its_own_verdict(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(FILE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
    }
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-rA",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    told = done.stdout
    assert (
        "FAILED test_mine.py::test_contract[NoCitation-citation]" in told
        and "set `citation` to authors" in told
    )
    assert "XFAIL test_mine.py::test_contract[Careless-citation] - nobody wrote it down" in told
    assert (
        "PASSED test_mine.py::test_contract[Careless-contract]" in told
        and "take the entry away" in told
    )
    assert "PASSED test_mine.py::test_contract[eszsl-declared_protocol]" in told
    assert "nothing in it is random" in told
    assert "1 failed" in told.splitlines()[-1], (
        "the other ids pass, are skipped, or fail as expected"
    )
