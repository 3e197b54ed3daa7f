"""Pages of the docs and the README are followed from top to bottom, and print what they show."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from docs_pages import ROOT, Follower, agrees, blocks, unsaid

PAGES = ("python.md",)
"""Pages whose every block is run."""


@pytest.mark.parametrize("name", PAGES)
def test_every_block_says_what_becomes_of_it(name: str) -> None:
    assert unsaid(ROOT / "docs" / name) == []


def test_an_output_is_held_against_its_page() -> None:
    assert agrees("H 67.3 of a\nend\n", "H  61.0 of a\nend")
    assert agrees("a\nb\nc\n", "a\n...\nc\n") and agrees("a\nc\n", "a\n...\nc\n")
    assert not agrees("a\nb\n", "a\n") and not agrees("a\nb\n", "a\nc\n")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One feature store for all pages."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_page_can_be_followed(
    name: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib.use("agg")
    page = ROOT / "docs" / name
    if any(block.kind == "python" for block in blocks(page)):
        pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    monkeypatch.setenv("ZSLKIT_CACHE", str(cache))
    Follower(tmp_path / "page", cache).follow(page)
