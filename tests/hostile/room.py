"""A folder in which commands meet hostile files, and the promises that hold for each answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GUARDED = Path(__file__).with_name("guarded.py")
MOST_MB = 250
"""Megabytes that a command may take for a file of less than one."""


@dataclass(frozen=True)
class Answer:
    command: str
    code: int
    out: str
    err: str
    mb: int


@dataclass
class Room:
    """A folder in which commands run, beside one that nobody may touch, with a marker that nobody
    may make."""

    root: Path

    @property
    def work(self) -> Path:
        return self.root / "a" / "b" / "work"

    @property
    def marker(self) -> Path:
        return self.root / "MARKER"

    def run(self, *commands: Sequence[str | Path]) -> list[Answer]:
        """What each command answers, after the promises that hold for all of them were looked
        at."""
        before = self._outside()
        lines = [[str(part) for part in command] for command in commands]
        environment = os.environ | {
            "ZSLKIT_CACHE": str(self.work / "cache"),
            "PYTHONPATH": "",
            "OMP_NUM_THREADS": "1",
        }
        how: Any = {
            "env": environment,
            "cwd": self.work,
            "capture_output": True,
            "text": True,
            "timeout": 300,
        }
        done = subprocess.run(
            [sys.executable, str(GUARDED)], input=json.dumps(lines), check=False, **how
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answers = [
            Answer(" ".join(line)[:200], **said)
            for line, said in zip(lines, json.loads(done.stdout), strict=True)
        ]
        assert not self.marker.exists(), "a payload was run"
        assert self._outside() == before, "something was written outside"
        broken = [
            f"{fault}: {answer}"[:1500] for answer in answers for fault in self._broken(answer)
        ]
        assert not broken, "\n".join(broken)
        return answers

    def _outside(self) -> dict[str, int]:
        return {
            str(path): path.lstat().st_mtime_ns
            for path in [*self.root.rglob("*"), *Path("/tmp").glob("up*")]
            if not path.is_relative_to(self.work)
        }

    @staticmethod
    def _broken(answer: Answer) -> Iterator[str]:
        """The promises that the answer does not keep."""
        said = answer.out + answer.err
        if answer.code not in (0, 1, 2):
            yield f"exit code {answer.code}"
        if "Traceback" in said or "Unexpected" in said:
            yield "not foreseen"
        if strange := {c for c in said if not c.isprintable() and c != "\n"}:
            yield f"commands the terminal: {strange}"
        if answer.mb > MOST_MB:
            yield f"took {answer.mb} MB"
        if answer.code == 2 and "zslkit: " not in answer.err:
            yield "says nothing"
        if any(len(line) > 5000 for line in answer.err.splitlines()):
            yield "too long a sentence"
