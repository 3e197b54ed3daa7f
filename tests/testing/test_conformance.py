"""Every model that comes along keeps the contract, as a stranger's has to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zslkit.registry import MODELS
from zslkit.testing import parametrize_with_checks
from zslkit.testing.conformance import table

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs" / "checks.md"


@parametrize_with_checks([entry.name for entry in MODELS.entries() if entry.built_in])
def test_contract(check: Callable[[], None]) -> None:
    check()


def test_the_docs_list_the_checks_as_they_are() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert table() in text, (
        "docs/checks.md is behind: put the output of python -m zslkit.testing into it"
    )
