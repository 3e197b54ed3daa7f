"""Where a run took place: libraries, machine, and commit of the code. Imports no library for it."""

from __future__ import annotations

import platform
import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zslkit.record import Environment, GitState


def environment(
    device: str, threads: int, processes: int = 1, deterministic: bool = False
) -> Environment:
    """Describe libraries and machine; `device` as torch names it, `threads` of each process."""
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        torch=_version("torch"),
        numpy=_version("numpy"),
        timm=_version("timm"),
        zslkit=_version("zslkit"),
        device=device,
        threads=threads,
        cpu=_cpu(),
        processes=processes,
        deterministic=deterministic,
    )


def git_state(folder: Path | None = None) -> GitState | None:
    """Commit and cleanliness of the git tree that contains `folder`; by default, of this package.

    None without git, or if git does not track the folder (a wheel installed below another
    repository).
    """
    folder = folder or Path(__file__).parents[1]
    if not _git(folder, "ls-files", "--", "."):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if not commit or changes is None:
        return None
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def now() -> str:
    """The present time in ISO format, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^model name.*?:(.*)", text, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None if git is missing, fails or takes longer than ten seconds."""
    # Optional locks would disturb a user who works in the same tree.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
