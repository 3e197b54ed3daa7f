"""Packages of strangers, really installed: good ones are listed, bad ones too, with what is wrong
and whose it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from installs import install

from zslkit.cli.app import main
from zslkit.cli.check import check_all
from zslkit.registry import MODELS, Entry, rescan

Command = Callable[..., "subprocess.CompletedProcess[str]"]

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

[project.entry-points."zslkit.datasets"]
{package}-raises = "{package}.raises:Mine"
{package}-alien = "{package}.alien:Mine"
{package}-tiny = "{package}.good:Tiny"
"""

GOOD = '''
import time

import numpy as np
import torch

from zslkit.dataset import Dataset, DatasetSource, Split
from zslkit.model import Model
from zslkit.semantics import Semantics


class Nearest(Model):
    """Scores by the nearest attribute vector."""

    inputs = ("pooled",)
    citation = "A Stranger, 2030"

    def fit(self, view, trainer):
        print("a plugin may print")

    def scores(self, x):
        return -torch.cdist(x, self.attributes)


class Fails(Nearest):
    def fit(self, view, trainer):
        raise ArithmeticError("it cannot be")


class Sleeps(Nearest):
    def fit(self, view, trainer):
        time.sleep(60)


class Tiny(DatasetSource):
    """Features that are the attributes: everything can be told."""

    title = "Tiny"

    def load(self, name, root):
        attributes = np.eye(4, dtype=np.float32)
        labels = np.repeat(np.arange(4), 6)
        parts = [0, 1, 2, 6, 7, 8, 12, 13, 14], [3, 9, 15], [18, 19]
        split = Split(*map(np.array, parts))
        semantics = Semantics(attributes, ("a", "b", "c", "d"))
        features = attributes[labels]
        return Dataset(
            name, tuple("wxyz"), labels, split, semantics, features=features, title="Tiny"
        )
'''

STRANGER = {
    "__init__.py": "",
    "good.py": GOOD,
    "raises.py": 'raise OSError("library of mine not found")\nfrom zslkit.model import '
    "Model\nclass Mine(Model): ...\n",
    "exits.py": "import sys\nprint('{}')\nsys.exit(3)\nfrom zslkit.model import Model\nclass "
    "Mine(Model): ...\n",
    "typo.py": "class Mine(:\n",
    "future.py": "from zslkit.model import Model\nclass Mine(Model):\n    contract = 99\n",
    "alien.py": "print('I talk')\nclass Mine: ...\n",
    "function.py": "def Mine(config, task): ...\n",
    "needs.py": "import nosuchlibrary.deep\nfrom zslkit.model import Model\nclass Mine(Model): "
    "...\n",
    "hidden.py": "def load():\n    import nosuchlibrary\nload()\nfrom zslkit.model import "
    "Model\nclass Mine(Model): ...\n",
    "dies.py": "import os; os._exit(7)\nclass Mine: ...\n",
    "hangs.py": "import time; time.sleep(60)\nclass Mine: ...\n",
}
ENTRIES = {
    "nearest": "stranger.good:Nearest",
    "fails": "stranger.good:Fails",
    "sleeps": "stranger.good:Sleeps",
    "raises": "stranger.raises:Mine",
    "exits": "stranger.exits:Mine",
    "typo": "stranger.typo:Mine",
    "future": "stranger.future:Mine",
    "alien": "stranger.alien:Mine",
    "function": "stranger.function:Mine",
    "needs": "stranger.needs:Mine",
    "hidden": "stranger.hidden:Mine",
    "dies": "stranger.dies:Mine",
    "hangs": "stranger.hangs:Mine",
    "gone": "stranger.gone:Mine",
    "noclass": "stranger.good:Missing",
    "shared": "stranger.good:Nearest",
    "dazle": "stranger.good:Nearest",
}


def source(
    folder: Path,
    name: str,
    package: str,
    version: str,
    files: dict[str, str],
    entries: dict[str, str],
) -> Path:
    """A package's source tree."""
    (folder / package).mkdir(parents=True)
    lines = "\n".join(f'{entry} = "{target}"' for entry, target in entries.items())
    (folder / "pyproject.toml").write_text(
        PROJECT.format(name=name, version=version, package=package, entries=lines)
    )
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
        source(
            sources / "b",
            "zslkit-rival",
            "rival",
            "0.3",
            {"__init__.py": "class Mine: ...\n"},
            {"shared": "rival:Mine"},
        ),
    ]
    install(place, *packages)
    return place


def listed(zslkit: Command, place: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    done = zslkit("models", "--json", *arguments, path=[place])
    return {f"{m['distribution']}:{m['name']}": m for m in json.loads(done.stdout)["models"]}


def test_a_good_plugin_stands_beside_our_own(zslkit: Command, installed: Path) -> None:
    told = listed(zslkit, installed)
    good = told["zslkit-stranger:nearest"]
    assert good["fault"] is None
    assert (good["version"], good["inputs"], good["protocol"]) == ("1.2", ["pooled"], "inductive")
    assert good["description"] == "Scores by the nearest attribute vector."
    assert told["zslkit:eszsl"]["fault"] is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("typo", "typo.py, line 1"),
        ("future", "written for contract 99, and this zslkit speaks 1"),
        ("gone", "the module stranger.gone is not there"),
        ("alien", "it is no subclass of zslkit.model.Model"),
        ("function", "it is no subclass of zslkit.model.Model"),
        ("needs", "it imports nosuchlibrary, which is not installed"),
        ("noclass", "the module stranger.good has no class Missing"),
        ("shared", "registered by zslkit-rival 0.3 too; say zslkit-stranger:shared"),
    ],
)
def test_faults_that_the_source_shows_stand_in_the_line(
    zslkit: Command, installed: Path, name: str, fault: str
) -> None:
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
    for name in ("raises", "exits", "hidden"):
        assert told[f"zslkit-stranger:{name}"]["fault"] is None


@pytest.mark.slow
def test_check_imports_each_and_names_what_fails(zslkit: Command, installed: Path) -> None:
    done = zslkit("datasets", "--json", "--check", "--debug", path=[installed])
    told = {
        f"{d['distribution']}:{d['name']}": d["fault"] for d in json.loads(done.stdout)["datasets"]
    }
    assert "library of mine not found" in told["zslkit-stranger:stranger-raises"]
    assert "no subclass of zslkit.dataset.DatasetSource" in told["zslkit-stranger:stranger-alien"]
    assert told["zslkit-stranger:stranger-tiny"] is None
    assert "No module named 'rival.alien'" in told["zslkit-rival:rival-alien"]
    assert told["zslkit:cub"] is None
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "zslkit-stranger:stranger-raises" in done.stderr.splitlines()[-1]


@pytest.fixture
def entries(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Entry]]:
    """The stranger's model entries, by name, as this process sees them."""
    monkeypatch.syspath_prepend(str(installed))
    rescan()
    yield {e.name: e for e in MODELS.entries() if e.distribution == "zslkit-stranger"}
    monkeypatch.undo()
    rescan()


@pytest.mark.slow
def test_no_plugin_can_hurt_the_check(entries: dict[str, Entry]) -> None:
    chosen = [entries[name] for name in ("exits", "dies", "alien", "nearest", "hidden")]
    exits, dies, alien, nearest, hidden = (verdict.fault for verdict in check_all(chosen))
    assert hidden == "ModuleNotFoundError: No module named 'nosuchlibrary'"
    assert exits == "SystemExit: 3"
    assert dies == "loading it ended the process with code 7"
    assert "no subclass of zslkit.model.Model" in alien
    assert nearest == ""
    (hangs,) = check_all([entries["hangs"]], seconds=1)
    assert hangs.fault == "loading it took over 1 s"


@pytest.mark.usefixtures("entries")
def test_using_a_bad_plugin_names_its_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "raises"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "zslkit-stranger 1.2" in err
    assert "library of mine not found" in err
    assert main(["models", "shared"]) == 2
    assert "zslkit-rival:shared or zslkit-stranger:shared" in capsys.readouterr().err


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("raises", 'raise OSError("library of mine not found")'),
        ("needs", "import nosuchlibrary.deep"),
    ],
)
def test_debug_shows_where_the_plugin_failed(
    capsys: pytest.CaptureFixture[str], name: str, line: str
) -> None:
    assert main(["models", name, "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and line in err
    assert err.splitlines()[-1].startswith("zslkit: ")
    assert main(["models", name]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("entries")
def test_a_model_is_used_although_its_neighbours_are_broken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "nearest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["citation"] == "A Stranger, 2030"
    for name, words in (
        ("future", "contract 99"),
        ("gone", "No module named 'stranger.gone'"),
        ("function", "no subclass"),
    ):
        assert main(["models", name]) == 1
        assert words in capsys.readouterr().err


COMPARE = ("compare", "nearest", "fails", "eszsl", "--dataset", "stranger-tiny", "--seeds", "0,1")


@pytest.mark.slow
def test_compare_finishes_what_it_can_and_names_the_rest(zslkit: Command, installed: Path) -> None:
    done = zslkit(*COMPARE, "--json", path=[installed])
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)  # although a plugin printed
    assert [
        (r["model"], r["seed"], r["metrics"]["H"]) for r in told["runs"] if r["model"] == "nearest"
    ] == [
        ("nearest", 0, 100),
        ("nearest", 1, 100),
    ]
    assert len(told["runs"]) == 4
    assert [(f["model"], f["seed"]) for f in told["failures"]] == [("fails", 0), ("fails", 1)]
    assert "fails (seed 0), fails (seed 1) failed: " in done.stderr.splitlines()[-1]
    assert "it cannot be" in done.stderr.splitlines()[-1]
    again = zslkit(*COMPARE, "--markdown", path=[installed])
    assert again.returncode == 1
    assert "a plugin may print" not in again.stderr  # nothing was trained again
    assert "| nearest | 2 |" in again.stdout
    assert "| eszsl | 2 |" in again.stdout


def test_ctrl_c_ends_with_130_and_a_sentence(tmp_path: Path, installed: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "zslkit",
        "compare",
        "sleeps",
        "--dataset",
        "stranger-tiny",
        "--out",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background jobs ignore it, and so would theirs
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "sleeps, seed 0 (1 of 1)\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("zslkit: Interrupted; ")
    assert "Traceback" not in err
