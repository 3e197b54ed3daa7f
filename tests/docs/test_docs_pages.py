"""Pages of the docs and the README are followed from top to bottom, and print what they show."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import matplotlib
import pytest
from docs_pages import ROOT, SHOWN, Follower, agrees, blocks, with_figures_of

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FOLLOWED = [
    page
    for page in PAGES
    if page.name != "plugins.md" and any(block.kind not in SHOWN for block in blocks(page))
]
"""Pages with blocks that are run; test_docs_plugins.py follows plugins.md."""


def test_the_readme_lists_every_model_and_dataset_that_comes_along() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for group in ("models", "datasets"):
        for name in project["entry-points"][f"zslkit.{group}"]:
            assert f"`{name}`" in text, name


def test_prose_has_lines_of_ordinary_length() -> None:
    for page in (ROOT / "README.md", *DOCS.glob("**/*.md")):
        prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        for line in prose.splitlines():
            words = re.sub(r"`[^`]*`?|^ *(\||<!--|!\[).*", "", line)  # code and tables stay whole
            assert len(words) <= 102, f"{page.name}: {line}"


def test_every_page_links_to_pages_that_are_there() -> None:
    for page in (ROOT / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_an_output_is_held_against_its_page() -> None:
    assert agrees("H 67.3 of a\nend\n", "H  61.0 of a\nend")
    assert agrees("a\nb\nc\n", "a\n...\nc\n") and agrees("a\nc\n", "a\n...\nc\n")
    assert with_figures_of("a 1\nb 2\nc 3\n", "a 0\n...\nc 0\n") == "a 1\n...\nc 3\n"
    assert not agrees("a\nb\n", "a\n") and not agrees("a\nb\n", "a\nc\n")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One feature store for all pages."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.name)
def test_the_page_can_be_followed(
    page: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib.use("agg")
    if any(block.kind == "python" for block in blocks(page)):
        pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    monkeypatch.setenv("ZSLKIT_CACHE", str(cache))
    Follower(tmp_path / "page", cache).follow(page)
