"""docs/quickstart.ipynb runs from its first cell to its last, and its stored outputs are what it
prints."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
import notebook  # noqa: E402

sys.path.remove(str(DOCS))

CELLS: list[dict[str, Any]] = json.loads(notebook.NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def masked(text: str) -> str:
    """Without figures and spaces, which another machine or library rounds otherwise."""
    return re.sub(r"\s+", " ", re.sub(r"[-+]?\d+(\.\d+)?(e[-+]\d+)?", "#", text)).strip()


def test_the_notebook_has_ten_cells_and_outputs_for_each() -> None:
    assert len(CELLS) == 10
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, 10))
    assert all(cell["outputs"] and len(cell["source"]) <= 10 for cell in code)
    assert max(len(line) for cell in CELLS for line in cell["source"]) <= 112


def test_a_cell_stores_what_it_prints_and_the_value_of_its_last_line() -> None:
    plt.close("all")  # what other tests left open would be shown by the cell
    namespace: dict[str, Any] = {}
    assert notebook.outputs_of("x = 1\nprint('a')\nx + 1", namespace) == [
        {"output_type": "stream", "name": "stdout", "text": ["a"]},
        {
            "output_type": "execute_result",
            "execution_count": None,
            "metadata": {},
            "data": {"text/plain": ["2"]},
        },
    ]
    assert notebook.outputs_of("y = x", namespace) == [] and namespace["y"] == 1


@pytest.mark.slow
def test_the_cells_run_in_order_and_print_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    matplotlib.use("agg")
    plt.close("all")  # what other tests left open would be shown by the first cell
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            found = notebook.outputs_of("".join(cell["source"]), namespace)
            kinds = [output["output_type"] for output in cell["outputs"]]
            assert [output["output_type"] for output in found] == kinds
            assert masked(notebook.texts(found)) == masked(notebook.texts(cell["outputs"]))
