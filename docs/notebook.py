"""`python docs/notebook.py`: runs the cells of docs/quickstart.ipynb in order and stores what they
print.

Needs no Jupyter. Cells share one namespace; the value of a cell's last line is shown as a notebook
shows it, and figures that are open after a cell as pictures.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).with_name("quickstart.ipynb")
DPI = 60


def sources(notebook: Path = NOTEBOOK) -> list[tuple[str, str]]:
    """Type ("markdown" or "code") and text of each cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def outputs_of(source: str, namespace: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell and return its outputs, as a notebook file holds them."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
    found: list[dict[str, Any]] = []
    if text := printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": _lines(text)})
    pictures = _pictures(value)
    if value is not None and not pictures:
        data = {"text/plain": _lines(repr(value))}
        found.append(
            {"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data}
        )
    for picture in pictures:
        data = {"image/png": base64.b64encode(picture).decode("ascii"), "text/plain": ["<Figure>"]}
        found.append({"output_type": "display_data", "metadata": {}, "data": data})
    return found


def texts(outputs: list[dict[str, Any]]) -> str:
    """The text of a cell's outputs."""
    parts = [out.get("text") or out.get("data", {}).get("text/plain") or [] for out in outputs]
    return "".join("".join(part) for part in parts)


def _pictures(value: Any) -> list[bytes]:
    """The open figures as PNG, and `value` if it is a figure; open ones are closed."""
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
    made = []
    for figure in [*figures, *([value] if isinstance(value, Figure) else [])]:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
        made.append(buffer.getvalue())
    pyplot.close("all")
    return made


def _lines(text: str) -> list[str]:
    return text.rstrip("\n").splitlines(keepends=True)


def main() -> None:
    """Run all cells in the current folder, and write the notebook with its outputs."""
    import matplotlib

    matplotlib.use("agg")
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        cell["outputs"] = outputs_of("".join(cell["source"]), namespace)
        cell["execution_count"] = count
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = count
    beside = NOTEBOOK.with_suffix(".new")
    beside.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(beside, NOTEBOOK)


if __name__ == "__main__":
    main()
