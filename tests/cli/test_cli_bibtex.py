"""`zslkit models NAME --bibtex`: the model's own entry, or one that guesses nothing."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from zslkit.cli.app import main
from zslkit.cli.plugins import made_of, print_bibtex
from zslkit.errors import UserError
from zslkit.registry import Entry


def test_a_model_s_own_entry_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "dedn", "--bibtex"]) == 0
    out, err = capsys.readouterr()
    assert (
        out.startswith("@inproceedings{")
        and out.endswith("}\n")
        and out.count("{") == out.count("}")
    )
    assert "pages = {4833--4841}" in out and "2404.16348" in out
    assert err == ""


def test_a_citation_alone_becomes_a_note_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "eszsl", "--bibtex"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "@misc{eszsl,\n  note = {Romera-Paredes and Torr. An embarrassingly simple approach to "
        "zero-shot learning. ICML 2015}\n}\n"
    )
    assert "no BibTeX of its own" in err
    assert main(["models", "eszsl", "--bibtex", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "eszsl", "bibtex": out, "own": False}


def test_what_latex_would_take_for_commands_is_escaped() -> None:
    assert (
        made_of("k", "A & B_c, 50%\n {x}") == "@misc{k,\n  note = {A \\& B\\_c, 50\\% \\{x\\}}\n}\n"
    )


def test_a_model_that_says_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bib_silent.py").write_text("class Mine: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("mine", "bib_silent:Mine", "zslkit.models")
    with pytest.raises(UserError, match=r"mine of bib-silent 1\.0 says no citation"):
        print_bibtex(Entry("mine", point.value, "bib-silent", "1.0", point), as_json=False)
    assert "bib_silent" not in sys.modules


def test_bibtex_asks_for_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--bibtex"]) == 2
    assert "takes the name of a model" in capsys.readouterr().err
