"""Packages of strangers, really installed: good ones are listed, bad ones too, with what is wrong and whose it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Command  # tests/cli/conftest.py

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"

[tool.setuptools]
packages = ["{package}"]

[project.entry-points."zslkit.models"]
{entries}
"""

GOOD = '''
import numpy as np
import torch

from zslkit.model import Model


class Nearest(Model):
    """Scores by the mean of the seen classes."""

    inputs = ("pooled",)
    citation = "A Stranger, 2030"

    def fit(self, view, trainer):
        self.width = view.everything()[0].shape[1]

    def scores(self, x):
        return torch.zeros(len(x), len(self.seen))
'''

STRANGER = {
    "__init__.py": "",
    "good.py": GOOD,
    "raises.py": 'raise OSError("library of mine not found")\nclass Mine: ...\n',
    "exits.py": "import sys\nprint('{}')\nsys.exit(3)\nclass Mine: ...\n",
    "typo.py": "class Mine(:\n",
    "future.py": "from zslkit.model import Model\nclass Mine(Model):\n    contract = 99\n",
    "alien.py": "class Mine: ...\n",
}
ENTRIES = {
    "nearest": "stranger.good:Nearest",
    "raises": "stranger.raises:Mine",
    "exits": "stranger.exits:Mine",
    "typo": "stranger.typo:Mine",
    "future": "stranger.future:Mine",
    "alien": "stranger.alien:Mine",
    "gone": "stranger.gone:Mine",
    "noclass": "stranger.good:Missing",
    "shared": "stranger.good:Nearest",
    "dazle": "stranger.good:Nearest",
}


def source(folder: Path, name: str, package: str, version: str, files: dict[str, str], entries: dict[str, str]) -> Path:
    """A package's source tree."""
    (folder / package).mkdir(parents=True)
    lines = "\n".join(f'{entry} = "{target}"' for entry, target in entries.items())
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, version=version, package=package, entries=lines))
    for file, text in files.items():
        (folder / package / file).write_text(text)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed two strangers' distributions."""
    place = tmp_path_factory.mktemp("site")
    sources = tmp_path_factory.mktemp("sources")
    packages = [
        source(sources / "a", "zslkit-stranger", "stranger", "1.2", STRANGER, ENTRIES),
        source(sources / "b", "zslkit-rival", "rival", "0.3", {"__init__.py": "class Mine: ...\n"}, {"shared": "rival:Mine"}),
    ]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--target", str(place), *map(str, packages)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


def listed(zslkit: Command, place: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    done = zslkit("models", "--json", *arguments, path=[place])
    return {f"{m['distribution']}:{m['name']}": m for m in json.loads(done.stdout)["models"]}


def test_a_good_plugin_stands_beside_our_own(zslkit: Command, installed: Path) -> None:
    told = listed(zslkit, installed)
    good = told["zslkit-stranger:nearest"]
    assert good["fault"] is None
    assert (good["version"], good["inputs"], good["protocol"]) == ("1.2", ["pooled"], "inductive")
    assert good["description"] == "Scores by the mean of the seen classes."
    assert told["zslkit:eszsl"]["fault"] is None
    assert zslkit("models", "nearest", path=[installed]).returncode == 0


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("typo", "typo.py, line 1"),
        ("future", "written for contract 99, and this zslkit speaks 1"),
        ("gone", "the module stranger.gone is not there"),
        ("noclass", "the module stranger.good has no class Missing"),
        ("shared", "registered by zslkit-rival 0.3 too; say zslkit-stranger:shared"),
    ],
)
def test_faults_that_the_source_shows_stand_in_the_line(zslkit: Command, installed: Path, name: str, fault: str) -> None:
    assert fault in listed(zslkit, installed)[f"zslkit-stranger:{name}"]["fault"]
    lines = zslkit("models", path=[installed]).stdout.splitlines()
    # the other side of a clash names this distribution too
    assert any(fault in n for n in lines if n.startswith(f"{name} ") and "zslkit-stranger 1.2" in n)


def test_a_clash_with_a_built_in_is_a_remark(zslkit: Command, installed: Path) -> None:
    told = listed(zslkit, installed)
    assert told["zslkit:dazle"]["fault"] is None
    assert told["zslkit:dazle"]["remark"] is None
    hidden = told["zslkit-stranger:dazle"]
    assert hidden["fault"] is None
    assert "say zslkit-stranger:dazle" in hidden["remark"]


def test_listing_succeeds_and_runs_no_stranger(zslkit: Command, installed: Path) -> None:
    done = zslkit("models", path=[installed])
    assert (done.returncode, done.stderr) == (0, "")
    told = listed(zslkit, installed)
    for name in ("raises", "exits", "alien"):
        assert told[f"zslkit-stranger:{name}"]["fault"] is None


def test_check_imports_each_and_names_what_fails(zslkit: Command, installed: Path) -> None:
    done = zslkit("models", "--json", "--check", "--debug", path=[installed])
    told = {f"{m['distribution']}:{m['name']}": m["fault"] for m in json.loads(done.stdout)["models"]}
    assert "library of mine not found" in told["zslkit-stranger:raises"]
    assert "SystemExit" in told["zslkit-stranger:exits"]
    assert "no subclass of zslkit.model.Model" in told["zslkit-stranger:alien"]
    assert told["zslkit-stranger:nearest"] is None
    assert told["zslkit:eszsl"] is None
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "zslkit-stranger:raises" in done.stderr.splitlines()[-1]


def test_using_a_bad_plugin_names_its_distribution(zslkit: Command, installed: Path) -> None:
    done = zslkit("models", "raises", path=[installed])
    assert (done.returncode, done.stdout) == (1, "")
    assert "zslkit-stranger 1.2" in done.stderr
    assert "library of mine not found" in done.stderr
    done = zslkit("models", "shared", path=[installed])
    assert done.returncode == 2
    assert "zslkit-stranger:shared or zslkit-rival:shared" in done.stderr or "zslkit-rival:shared or zslkit-stranger:shared" in done.stderr
