"""docs/plugins.md is followed from top to bottom in an empty folder: its files are written and its
commands are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- (write|run|prints)(?:: ?| )?(.*?) ?-->\n)?```\w*\n(.*?)```", re.S)
SHIMS = {
    "zslkit": "-P -m zslkit",
    "pytest": "-P -m pytest -p no:cacheprovider",
    "pip": "-m pip -q --no-input --disable-pip-version-check",
}


def blocks() -> Iterator[tuple[str, str, str]]:
    """What to do (write or run; prints: what the last command before said), with what, and the
    text."""
    for found in BLOCK.finditer(PAGE):
        yield found[1], found[2], found[3]


def _figures_aside(text: str) -> str:
    """Without the figures at the ends of lines, which another machine or library rounds
    otherwise."""
    return re.sub(r"[-+.e\d]+$", "#", text, flags=re.MULTILINE)


def test_every_block_says_what_becomes_of_it() -> None:
    assert all(what in ("write", "run", "prints") for what, _, _ in blocks())
    assert PAGE.count("```") == 2 * len(list(blocks()))


def test_the_first_model_and_the_wrapped_script_are_short() -> None:
    lines = {
        argument: len([n for n in text.splitlines() if n.strip()]) for _, argument, text in blocks()
    }
    assert lines["tutorial/first.py"] <= 30
    assert lines["tutorial/script.py"] < 40


@pytest.mark.slow
def test_the_page_can_be_followed_from_top_to_bottom(tmp_path: Path) -> None:
    project, site, tools = tmp_path / "project", tmp_path / "site", tmp_path / "tools"
    (project / "tutorial").mkdir(parents=True)
    (project / "tutorial" / "__init__.py").touch()
    tools.mkdir()
    for name, arguments in SHIMS.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (tools / name).chmod(0o755)
    # As after an editable install: metadata in the environment, code in the project.
    path = os.pathsep.join([str(project), str(site)])
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": path,
        "ZSLKIT_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    install = f"pip install --no-index --no-deps --no-build-isolation --target {site} ."
    said: dict[str, str] = {}
    last = ""
    for what, argument, text in blocks():
        if what == "write":
            (project / argument).parent.mkdir(parents=True, exist_ok=True)
            (project / argument).write_text(text, encoding="utf-8")
            continue
        if what == "prints":
            assert _figures_aside(last) == _figures_aside(text)
            continue
        for line in text.strip().splitlines():
            command = install if line == "pip install -e ." else line
            if line.startswith("zslkit run"):
                command = f"{line} {argument} --set features.pretrain_epochs=1"
            elif line.startswith("zslkit compare"):
                command = f"{line} --set features.pretrain_epochs=1"
            done = subprocess.run(
                command,
                shell=True,
                cwd=project,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            said[line] = last = done.stdout
    assert "the module tutorial.regions is not there" in said["zslkit models"]
    assert (project / "regions.png").stat().st_size > 1000
    assert (
        "w_attribute" in said["zslkit models regions"]
        and "preset digits.yaml" in said["zslkit config regions digits"]
    )
    assert {"solved", "eszsl", "ridge"} <= set(
        said["zslkit compare solved eszsl ridge --dataset digits --seeds 0,1"].split()
    )
