"""A real browser opens the page from its file: it sorts, filters, opens rows, changes its theme,
and loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from chromium import Tab
from shelf_of_runs import EVIL, evil_shelf, small_shelf

from zslkit.page.gather import gather
from zslkit.page.write import write

PHONE = (390, 844)
MODELS = (
    "[...document.querySelectorAll('#b0 tr.line')].filter(l => !l.hidden).map(l => "
    "l.querySelector('.name').textContent)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    program = chromium.find()
    if program is None:
        pytest.skip(
            f"needs a browser: none of {', '.join(chromium.NAMES)} is on the PATH; say where with "
            "ZSLKIT_CHROMIUM"
        )
    with chromium.tab(program, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    small, evil = small_shelf(folder / "small-runs"), evil_shelf(folder / "evil-runs")
    asked = {"small": (small, False), "picked": (small, True), "evil": (evil, True)}
    return {
        name: write(gather([], out), folder / name, as_papers_do=picked).index
        for name, (out, picked) in asked.items()
    }


@pytest.fixture
def tab(browser: Tab, pages: dict[str, Path]) -> Tab:
    """The small page, fresh, on a desk in the light."""
    return fresh(browser, pages["small"])


def fresh(tab: Tab, page: Path, size: tuple[int, int] = (1280, 900)) -> Tab:
    tab.faults.clear()
    tab.requests.clear()
    tab.prefer(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    tab.size(*size, mobile=size[0] < 500)
    tab.open(page)
    tab.ask("localStorage.clear()")
    tab.open(page)
    return tab


def column(tab: Tab, index: int) -> list[str]:
    found = tab.ask(
        f"[...document.querySelectorAll('#b0 tr.line')].map(l => l.cells[{index}].dataset.value)"
    )
    return [str(value) for value in found]


@pytest.mark.parametrize("name", ["small", "picked", "evil"])
@pytest.mark.parametrize("size", [(1280, 900), PHONE, (320, 640)])
def test_the_page_opens_without_a_complaint_and_asks_for_nothing_else(
    browser: Tab, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    tab = fresh(browser, pages[name], size)
    assert tab.faults == []
    assert {url.partition("?")[0] for url in tab.requests} - {"about:blank"} == {
        pages[name].resolve().as_uri()
    }
    assert tab.ask("document.documentElement.scrollWidth") == size[0]
    opened = (
        "document.querySelectorAll('button.open').forEach(b => b.click()); "
        "document.querySelectorAll('details').forEach(d => d.open = true)"
    )
    tab.ask(opened)
    assert tab.ask("document.documentElement.scrollWidth") == size[0]
    assert tab.faults == []


def test_attacks_are_text_in_the_browser_too(browser: Tab, pages: dict[str, Path]) -> None:
    tab = fresh(browser, pages["evil"])
    assert tab.ask("document.querySelectorAll('script').length") == 2
    assert (
        tab.ask("document.querySelectorAll('img, [onload], [onerror], [style*=expression]').length")
        == 0
    )
    assert set(tab.ask(MODELS)) == {EVIL[0], EVIL[1]}
    assert tab.ask(
        "[...document.querySelectorAll('.class-list .of')].map(e => e.textContent).sort()"
    ) == sorted([*EVIL, "class 5"])


def test_every_column_sorts_both_ways_and_says_so(tab: Tab) -> None:
    heads = tab.ask(
        "[...document.querySelectorAll('#b0 thead th')].map((h, i) => h.querySelector('.sort') ? i "
        ": -1).filter(i => i >= 0)"
    )
    assert len(heads) >= 9
    for index in heads:
        head = f"document.querySelectorAll('#b0 thead th')[{index}]"
        directions = set()
        for _ in range(2):
            tab.ask(f"{head}.querySelector('.sort').click()")
            direction = tab.ask(f"{head}.getAttribute('aria-sort')")
            directions.add(direction)
            values = column(tab, index)
            known = [value for value in values if value != ""]
            assert values == known + [""] * (
                len(values) - len(known)
            )  # what is not known goes last, both ways
            key = (lambda value: value.lower()) if index == 0 else float
            assert known == sorted(known, key=key, reverse=direction == "descending")
            assert tab.ask("document.querySelectorAll('#b0 [aria-sort]').length") == 1
        assert directions == {"ascending", "descending"}
    assert tab.ask(
        "[...document.querySelectorAll('#b0 tr.line')].every(l => l.nextElementSibling.id === l.id "
        "+ '-more')"
    )
    assert tab.ask("document.querySelectorAll('#b0 tbody.guests tr').length") > 1
    assert tab.faults == []


def test_the_first_click_shows_the_best_first(tab: Tab) -> None:
    first = "document.querySelectorAll('#b0 thead .sort')"
    names = tab.ask(f"[...{first}].map(b => b.textContent)")
    tab.ask(f"{first}[{names.index('training')}].click()")
    assert (
        tab.ask("document.querySelector('#b0 [aria-sort]').getAttribute('aria-sort')")
        == "ascending"
    )
    tab.ask(f"{first}[{names.index('T1')}].click()")
    assert (
        tab.ask("document.querySelector('#b0 [aria-sort]').getAttribute('aria-sort')")
        == "descending"
    )


def test_a_column_is_sorted_and_a_row_opened_by_keyboard(tab: Tab) -> None:
    tab.press("Tab", 9)
    assert tab.ask("document.activeElement.className") == "skip"
    assert tab.ask("document.activeElement.getBoundingClientRect().top >= 0")
    for _ in range(40):
        tab.press("Tab", 9)
        if tab.ask("document.activeElement.textContent") == "U":
            break
    assert tab.ask("document.activeElement.matches('#b0 .sort')")
    assert tab.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Enter", 13, "\r")
    assert tab.ask("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
    tab.press(" ", 32, " ")
    assert tab.ask("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
    for _ in range(40):
        tab.press("Tab", 9)
        if tab.ask("document.activeElement.matches('button.open')"):
            break
    controlled = "document.activeElement.getAttribute('aria-controls')"
    shown = f"getComputedStyle(document.getElementById({controlled})).display"
    assert tab.ask(shown) == "none"
    tab.press("Enter", 13, "\r")
    assert tab.ask("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert tab.ask(shown) == "table-row"


def set_filter(tab: Tab, name: str, value: str) -> None:
    tab.ask(
        f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('input', {{bubbles: true}})); "
        f"}})(document.getElementById('{name}'))"
    )


def test_words_dataset_and_protocol_filter_rows_and_say_how_many(tab: Tab) -> None:
    count, blocks = (
        "document.getElementById('count').textContent",
        "[...document.querySelectorAll('article.block')].map(b => b.hidden)",
    )
    assert tab.ask(count) == "4 rows"
    set_filter(tab, "filter", "ALPHA inductive")
    assert tab.ask(MODELS) == ["alpha"] and tab.ask(count) == "2 of 4 rows"
    set_filter(tab, "dataset", "fish")
    assert tab.ask(blocks) == [True, False] and tab.ask(count) == "1 of 4 rows"
    set_filter(tab, "filter", "")
    set_filter(tab, "dataset", "")
    set_filter(tab, "protocol", "class-inductive")
    assert tab.ask(MODELS) == ["beta"] and tab.ask(blocks) == [False, True]
    set_filter(tab, "filter", "no such model")
    assert tab.ask(count) == "0 of 4 rows"
    set_filter(tab, "filter", "")
    set_filter(tab, "protocol", "")
    assert tab.ask(count) == "4 rows"
    assert tab.faults == []


def test_what_was_picked_on_test_is_sorted_by_nothing_and_goes_with_the_filter(
    browser: Tab, pages: dict[str, Path]
) -> None:
    box = "[...document.querySelectorAll('#b0 .on-test tbody tr')]"
    order, seen = (
        f"{box}.map(r => r.textContent)",
        f"{box}.filter(r => !r.hidden).map(r => r.querySelector('.name').textContent)",
    )
    tab = fresh(browser, pages["small"])
    assert tab.ask("document.querySelectorAll('.on-test').length") == 0
    plain = tab.ask("[...document.querySelectorAll('#b0 tbody.runs')].map(b => b.textContent)")

    tab = fresh(browser, pages["picked"])
    assert (
        tab.ask("[...document.querySelectorAll('#b0 tbody.runs')].map(b => b.textContent)") == plain
    )
    assert tab.ask(f"{box}.every(r => r.querySelector('.badge').textContent === 'no result')")
    assert (
        tab.ask(
            "document.querySelectorAll('.on-test button, table.board .no-result, .board "
            ".on-test').length"
        )
        == 0
    )
    before = tab.ask(order)
    assert len(before) == 3 and sum("99.0" in text for text in before) == 1
    heads = tab.ask("document.querySelectorAll('#b0 .sort').length")
    for index in range(heads):
        tab.ask(f"document.querySelectorAll('#b0 .sort')[{index}].click()")
        assert tab.ask(order) == before
        assert "99.0" not in "".join(column(tab, index))
    assert tab.ask("document.getElementById('count').textContent") == "4 rows"
    quiet = "getComputedStyle(document.querySelector('.guests th')).color"
    assert tab.ask(f"getComputedStyle(document.querySelector('.on-test td')).color === {quiet}")

    set_filter(tab, "filter", "beta")
    assert tab.ask(seen) == ["beta"]
    set_filter(
        tab, "filter", "gamma"
    )  # a model of its own, without such a row, although the others' marks have the word
    assert tab.ask(MODELS) == ["gamma"]
    assert tab.ask("document.querySelector('#b0 .on-test').hidden")
    set_filter(tab, "filter", "")
    set_filter(tab, "protocol", "class-inductive")
    assert tab.ask(seen) == ["beta"]
    assert tab.faults == []


def test_the_theme_follows_the_system_until_it_is_chosen_and_is_kept(
    tab: Tab, pages: dict[str, Path]
) -> None:
    paper, button = (
        "getComputedStyle(document.body).backgroundColor",
        "document.getElementById('theme')",
    )
    assert tab.ask(paper) == "rgb(255, 255, 255)"
    tab.prefer(prefers_color_scheme="dark")
    assert tab.becomes(f"{button}.getAttribute('aria-pressed')", "true")
    dark = tab.ask(paper)
    assert dark != "rgb(255, 255, 255)"
    tab.ask(f"{button}.click()")
    assert (
        tab.ask(paper) == "rgb(255, 255, 255)"
        and tab.ask(f"{button}.getAttribute('aria-pressed')") == "false"
    )
    tab.open(pages["small"])
    assert tab.ask(paper) == "rgb(255, 255, 255)"
    tab.ask(f"{button}.click()")
    assert tab.ask(paper) == dark
    tab.ask("localStorage.clear()")
    assert tab.faults == []


def test_a_link_to_a_row_opens_it(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["small"], "#b0r1")
    assert tab.ask("document.querySelector('#b0r1 .open').getAttribute('aria-expanded')") == "true"
    assert tab.ask("document.querySelectorAll('[aria-expanded=true]').length") == 1


def test_curves_are_switched_by_their_legend_and_lit_by_their_row(tab: Tab) -> None:
    tab.ask("document.querySelector('#b0 .key').click()")
    assert tab.ask("document.querySelectorAll('#b0 .trace.off').length") == 1
    assert tab.ask("document.querySelector('#b0 .key').getAttribute('aria-pressed')") == "false"
    tab.ask("document.querySelector('#b0 .key').click()")
    assert tab.ask("document.querySelectorAll('#b0 .trace.off').length") == 0
    tab.ask("document.querySelector('#b0r0').dispatchEvent(new Event('pointerenter'))")
    assert tab.ask("[...document.querySelectorAll('.hot')].every(e => e.dataset.row === 'b0r0')")
    assert tab.ask("document.querySelectorAll('.hot').length") == 2


def test_classes_are_set_against_another_model(tab: Tab) -> None:
    values = "[...document.querySelectorAll('#b0 .class-list .value')].map(e => e.textContent)"
    titles = (
        "[...document.querySelectorAll('#b0 .class-sides h4')].map(e => "
        "e.textContent.split(':')[0])"
    )
    assert len(tab.ask(values)) == 6
    assert tab.ask(titles) == ["Unseen classes", "Seen classes"]
    against = "document.querySelectorAll('#b0 .classes select')[1]"
    tab.ask(
        "(s => { s.value = s.options[2].value; s.dispatchEvent(new Event('change')); "
        f"}})({against})"
    )
    assert all("(" in value for value in tab.ask(values))
    assert tab.faults == []


def test_motion_is_only_where_it_is_wanted(tab: Tab) -> None:
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert tab.ask(behaviour) == "smooth"
    tab.prefer(prefers_reduced_motion="reduce")
    assert tab.ask(behaviour) == "auto"


def test_paper_gets_tables_in_full_and_no_controls(tab: Tab) -> None:
    tab.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert tab.ask("getComputedStyle(document.querySelector('.filters')).display") == "none"
        assert tab.ask("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    finally:
        tab.call("Emulation.setEmulatedMedia", media="")


def test_without_scripts_the_rows_are_open_and_readable(
    browser: Tab, pages: dict[str, Path]
) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["small"])
        shown = "getComputedStyle(document.querySelector('#b0r0-more')).display"
        assert browser.ask(shown) == "table-row"
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.slow
@pytest.mark.parametrize("fragment", ["#100%", "#%E0%A4%A", "#%", "#\"]'<b>", "#constructor"])
def test_any_fragment_of_the_address_leaves_the_page_whole(
    tab: Tab, pages: dict[str, Path], fragment: str
) -> None:
    tab.open(pages["small"], fragment)
    tab.ask("location.hash = '#%zz'")
    assert tab.faults == []
    assert tab.ask("document.getElementById('count').textContent").endswith("rows")
    assert not tab.ask("document.getElementById('theme').hidden")
