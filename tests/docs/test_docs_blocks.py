"""What the docs show and no test runs is taken by the real parsers; and every block says which kind
it is."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from commands import check, check_mention, check_scripts, commands_of, inline
from docs_pages import ROOT, blocks, unsaid

from zslkit.errors import ZslkitError
from zslkit_dedn.groups import read_clusters

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
FOLLOWED = [page for page in PAGES if page.name != "plugins.md"]
"""test_docs_plugins.py follows plugins.md, whose blocks have markers of their own."""
PARSED = [
    pytest.param(block.text, id=f"{page.stem}-{block.line}")
    for page in FOLLOWED
    for block in blocks(page)
    if block.kind == "parsed"
]
INLINE = sorted({span for page in PAGES for span in inline(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_every_block_says_what_becomes_of_it(page: Path) -> None:
    assert unsaid(page) == []
    fences = len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.M))
    assert fences == 2 * len(list(blocks(page)))


def test_a_block_that_is_run_elsewhere_names_the_test() -> None:
    for page in FOLLOWED:
        for block in blocks(page):
            if block.verb == "elsewhere":
                assert (ROOT / block.argument).is_file(), f"{page.name}, line {block.line}"


@pytest.mark.parametrize("text", PARSED)
def test_the_command_line_takes_what_is_not_run(text: str) -> None:
    found = list(commands_of(text))
    assert found
    for words in found:
        check(words)


@pytest.mark.parametrize("span", INLINE)
def test_the_command_line_takes_what_stands_in_a_sentence(span: str) -> None:
    for words in commands_of(span):
        check_mention(words)


@pytest.mark.slow
def test_the_benchmarks_take_the_options_that_pages_give_them() -> None:
    spans = [
        span
        for page in PAGES
        for span in re.findall(r"`(python benchmarks/[^`]+)`", page.read_text(encoding="utf-8"))
    ]
    texts = [*(param.values[0] for param in PARSED), *spans]
    found = [words for text in texts for words in commands_of(str(text)) if words[0] == "python"]
    argued = [words for words in found if "scaling_stages" not in words[1]]
    assert len(argued) >= 15
    check_scripts(argued)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("zslkit run --model eszsl --no-such-option", click.UsageError),
        ("zslkit run --model eszsl --dataset digits --set lamb=3", ZslkitError),
        ("zslkit run --model eszsl --dataset digits --preset nothing", ZslkitError),
        ("zslkit data nothing", click.UsageError),
        ("frobnicate --now", AssertionError),
    ],
)
def test_a_command_that_is_none_is_found(command: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        for words in commands_of(command):
            check(words)


def test_a_block_is_split_into_its_commands() -> None:
    text = "A=1 a b  # why\n$ x 'y z' \\\n   w > o.txt\nprinted\n$ p | q -r && s\n"
    assert list(commands_of(text)) == [["x", "y z", "w"], ["p"], ["q", "-r"], ["s"]]
    assert list(commands_of("A=1 a b  # why")) == [["a", "b"]]


def test_the_file_of_clusters_can_be_read(tmp_path: Path) -> None:
    (block,) = (b for b in blocks(ROOT / "docs" / "dedn.md") if b.language == "yaml")
    (tmp_path / "clusters.yaml").write_text(block.text)
    assert read_clusters(tmp_path / "clusters.yaml") == {
        "wing": ["has_wing_color::blue", "has_wing_color::brown"],
        "rest": [0, 1, 2],
    }
