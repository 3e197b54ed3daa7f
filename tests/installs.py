"""Packages that tests write, installed by pip without the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")


def install(site: Path, *packages: Path) -> None:
    """Install source folders or wheels into the folder `site`."""
    pip = [sys.executable, "-m", "pip", "install", "-q", *OFFLINE, "--target", str(site)]
    done = subprocess.run([*pip, *map(str, packages)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
