"""What the README prints works as printed: its commands exist, and its plugin installs and
trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from installs import install

README = Path(__file__).parents[2] / "README.md"


def block(marker: str) -> str:
    found = re.search(
        rf"<!-- {marker} -->\n```\w*\n(.*?)```", README.read_text(encoding="utf-8"), re.S
    )
    assert found, f"README.md has no block {marker!r}"
    return found.group(1)


def test_the_commands_are_one_line_each() -> None:
    for marker, end in (
        ("run command", "zslkit run --model dedn --dataset digits"),
        ("test command", ".venv/bin/pytest -n 2 -m 'not slow'"),
    ):
        (line,) = block(marker).strip().splitlines()
        assert line.startswith("python3 -m venv .venv && ") and line.endswith(end)


@pytest.mark.slow
def test_the_plugin_of_the_readme_trains_on_digits(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    source = block("plugin")
    assert len([line for line in source.splitlines() if line.strip()]) <= 30
    (package / "mine.py").write_text(source, encoding="utf-8")
    (package / "pyproject.toml").write_text(block("plugin project"), encoding="utf-8")
    site = tmp_path / "site"
    install(site, package)
    run = [
        sys.executable,
        "-m",
        "zslkit",
        "run",
        "--model",
        "mine",
        "--dataset",
        "digits",
        "--json",
        "--out",
        str(tmp_path / "runs"),
    ]
    run += ["--set", "features.pretrain_epochs=1", "--set", "train.epochs=2"]
    env = {**os.environ, "PYTHONPATH": str(site), "ZSLKIT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(run, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["dataset"]) == ("mine", "digits")
    assert set(told["metrics"]) == {"T1", "U", "S", "H", "AUSUC"}
