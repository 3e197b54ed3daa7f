"""`python docs/layers.py`: the layers as docs/architecture.md draws them, from the rules that
import-linter holds."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH = 76


def floors() -> list[list[str]]:
    """The layers of pyproject.toml, top first, each as the names of its folders and modules."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    return [[room.strip().removeprefix("zslkit.") for room in layer.split("|")] for layer in layers]


def plugins() -> list[str]:
    """The packages that stand beside the harness."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    return next(c["modules"] for c in contracts if c["type"] == "independence")


def picture() -> str:
    """A box a layer; the one that plugins import is marked."""
    edge = "+" + "-" * (WIDTH + 2) + "+"
    lines = [edge]
    for rooms in floors():
        for line in textwrap.wrap("   ".join(rooms), WIDTH, break_long_words=False):
            lines.append(
                f"| {line.ljust(WIDTH)} |"
                + ("  <-- " + ", ".join([*plugins(), "yours"]) if "model" in rooms else "")
            )
        lines.append(edge)
    return "\n".join(lines)


if __name__ == "__main__":
    print(picture())
