"""docs/architecture.md shows the layers that import-linter holds, and every folder has its place in
them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_picture_is_made_of_the_rules() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "layers.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"<!-- the output of: python docs/layers.py -->\n```\n{made}```" in PAGE


def layers() -> list[list[str]]:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from layers import floors
    finally:
        sys.path.pop(0)
    return floors()


def test_every_folder_and_module_has_its_layer() -> None:
    placed = {name for layer in layers() for name in layer}
    package = ROOT / "zslkit"
    there = {p.stem for p in package.glob("*.py")} | {
        p.parent.name for p in package.glob("*/__init__.py")
    }
    assert placed == there - {"__init__", "__main__"}


def test_few_modules_are_loose() -> None:
    assert len(list((ROOT / "zslkit").glob("[!_]*.py"))) < 10


def test_every_folder_says_where_to_look() -> None:
    for folder in (ROOT / "zslkit").glob("*/__init__.py"):
        assert f"`zslkit/{folder.parent.name}/`" in PAGE


def test_every_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    there = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for root in ("zslkit", "zslkit_dedn")
        for p in (ROOT / root).rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == there | {"zslkit_baselines"}


def test_the_places_named_for_five_changes_are_there() -> None:
    from zslkit.config.train import TrainConfig
    from zslkit.evaluation.catalog import METRICS
    from zslkit.report.badges import KINDS, badges_of
    from zslkit.training.loop import _optimizer
    from zslkit.utils.files import why

    assert METRICS and KINDS and callable(badges_of) and callable(why) and callable(_optimizer)
    assert "optimizer" in TrainConfig.model_fields
    for name in ("METRICS", "_optimizer", "KINDS", "badges_of", "why"):
        assert f"`{name}`" in PAGE
