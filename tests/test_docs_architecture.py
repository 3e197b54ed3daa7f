"""docs/architecture.md shows the floors that import-linter holds, and names rooms that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_picture_is_made_of_the_rules() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "layers.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"<!-- the output of: python docs/layers.py -->\n```\n{made}```" in PAGE


def test_every_room_of_the_picture_exists_and_every_room_is_in_it() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from layers import floors
    finally:
        sys.path.pop(0)
    rooms = {room for floor in floors() for room in floor}
    there = {
        p.stem
        for p in (ROOT / "zslkit").iterdir()
        if p.suffix == ".py" or (p / "__init__.py").is_file()
    }
    assert rooms == there - {"__init__", "__main__"}
