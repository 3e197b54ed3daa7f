"""Results on standard output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zslkit.cli import output
from zslkit.cli.output import aligned, print_json


@pytest.mark.parametrize("pieces", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    "value", [{}, [], {"a": [1, 2.5, None, True], "b": {"c": "ä"}}, {"table": [[0] * 5] * 3}]
)
def test_json_written_in_pieces_is_the_whole_text(
    pieces: int, value: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "PIECES", pieces)
    print_json(value)
    assert capsys.readouterr().out == json.dumps(value, indent=2) + "\n"


def test_figures_that_are_not_finite_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("-inf")]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None]}


def test_wide_characters_take_two_cells_of_a_column() -> None:
    assert aligned(("n", "x"), [("ab", "1"), ("鳥", "2"), ("é", "3")]) == [
        "n   x",
        "ab  1",
        "鳥  2",
        "é   3",
    ]
    assert aligned(("n", "x"), [("", "鳥 " * 20)], width=27)[1:] == [
        "   " + " ".join(["鳥"] * 6),
        "   " + " ".join(["鳥"] * 6),
        "   " + " ".join(["鳥"] * 6),
        "   鳥 鳥",
    ]
