"""What docs/data.md prints works as printed: the own dataset step by step, and the plugin as an
installed package."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from installs import install
from PIL import Image

from zslkit.datasets.card_keys import FolderCard

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def block(marker: str) -> str:
    found = re.search(
        rf"<!-- {marker} -->\n```\w*\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S
    )
    assert found, f"docs/data.md has no block {marker!r}"
    return found.group(1)


def zslkit(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": path,
        "ZSLKIT_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-P", "-m", "zslkit", *arguments]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def told_as_printed(folder: Path, marker: str) -> int:
    """Run the block's command, hold its output against the block, and return the exit code."""
    first, _, printed = block(marker).partition("\n")
    done = zslkit(folder, *shlex.split(first.removeprefix("$ zslkit ")))
    assert (done.stdout, done.stderr) == (printed, "")
    return done.returncode


@pytest.mark.slow
def test_the_own_dataset_goes_as_the_page_says(tmp_path: Path) -> None:
    for k, name in enumerate(("candy cane", "lime", "tomato", "zebra")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (32, 32), (60 * k, 10 * i, 90)).save(
                tmp_path / "photos" / name / f"{i}.png"
            )
    assert told_as_printed(tmp_path, "own dataset 1") == 0
    assert (tmp_path / "photos.yaml").read_text() == block("own dataset card")
    assert (
        tmp_path / "photos.csv"
    ).read_text() == "class,red,striped,edible\ncandy cane,,,\nlime,,,\ntomato,,,\nzebra,,,\n"
    (tmp_path / "photos.csv").write_text(block("own dataset table"))
    assert told_as_printed(tmp_path, "own dataset 2") == 2
    assert (tmp_path / "photos.csv").read_text() == block("own dataset table")
    (tmp_path / "photos.csv").write_text(
        block("own dataset table").replace("yes", "1").replace("zebra,0,1,", "zebra,0,1,0")
    )
    assert told_as_printed(tmp_path, "own dataset 3") == 0
    ready = block("own dataset 3").splitlines()[-1].removeprefix("ready: zslkit ")
    small = [
        "--backbone",
        "mobilenetv3_small_050",
        "--backbone-weights",
        "random",
        "--set",
        "features.size=32",
        "--json",
    ]
    run = zslkit(tmp_path, *shlex.split(ready), *small)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["dataset"] == "photos"


def test_the_page_lists_the_keys_of_a_card() -> None:
    table = (
        PAGE.read_text(encoding="utf-8").partition("<!-- keys of a card -->")[2].split("\n\n")[0]
    )
    keys = [
        key
        for line in table.splitlines()
        for key in re.findall(r"`(\w+)`", line.split("|")[1:2][0] if "|" in line else "")
    ]
    assert sorted(keys) == sorted(FolderCard.model_fields)


BROKEN = """
[project]
name = "my-broken-fruit"
version = "0.2"

[project.entry-points."zslkit.datasets"]
rotten = "rotten:Rotten"
mouldy = "mouldy:Mouldy"

[tool.setuptools]
py-modules = ["rotten", "mouldy"]
"""
ROTTEN = (
    "from zslkit.dataset import DatasetSource\n\n\n"
    "class Rotten(DatasetSource):\n    def load(self, name, root):\n        return 1 / 0\n"
)
MOULDY = "raise OSError('no spoon')\n\n\nclass Mouldy: ...\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder into which pip has installed the page's plugin and a broken one."""
    good, bad, place = (tmp_path_factory.mktemp(n) for n in ("good", "bad", "site"))
    source = block("dataset plugin")
    assert len([line for line in source.splitlines() if line.strip()]) <= 22
    (good / "fruit.py").write_text(source)
    (good / "pyproject.toml").write_text(block("dataset plugin project"))
    (bad / "rotten.py").write_text(ROTTEN)
    (bad / "mouldy.py").write_text(MOULDY)
    (bad / "pyproject.toml").write_text(BROKEN)
    install(place, good, bad)
    return str(place)


@pytest.mark.slow
def test_the_plugin_of_the_page_is_listed_and_runs_beside_a_broken_one(
    tmp_path: Path, site: str
) -> None:
    listed = zslkit(tmp_path, "datasets", "--json", path=site)
    assert listed.returncode == 0
    told = {d["name"]: d for d in json.loads(listed.stdout)["datasets"]}
    fruit = told["fruit"]
    assert (fruit["distribution"], fruit["title"], fruit["licence"], fruit["fault"]) == (
        "my-zsl-fruit",
        "Fruit",
        "CC0",
        None,
    )
    assert {"rotten", "mouldy", "digits"} <= set(told)
    run = zslkit(tmp_path, "run", "--model", "eszsl", "--dataset", "fruit", "--json", path=site)
    assert run.returncode == 0, run.stderr
    made = json.loads(run.stdout)
    assert made["dataset"] == "fruit"
    assert made["metrics"]["S"] > 90  # a dataset that can be told by looking at it


@pytest.mark.slow
def test_a_broken_dataset_plugin_is_named_with_its_reason(tmp_path: Path, site: str) -> None:
    checked = zslkit(tmp_path, "datasets", "--check", "--json", path=site)
    faults = {d["name"]: d["fault"] for d in json.loads(checked.stdout)["datasets"]}
    assert checked.returncode == 1
    assert faults["fruit"] is None
    assert "no spoon" in faults["mouldy"]
    for name, reason in (("mouldy", "no spoon"), ("rotten", "ZeroDivisionError")):
        run = zslkit(tmp_path, "run", "--model", "eszsl", "--dataset", name, path=site)
        assert run.returncode == 1
        assert (
            "my-broken-fruit 0.2" in run.stderr
            and reason in run.stderr
            and "Traceback" not in run.stderr
        )
