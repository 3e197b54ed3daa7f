"""The folder: whole or not at all, nobody else's is touched, and its text is safe whatever names it
holds."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from run_folders import make_run, random_scores
from shelf_of_runs import EVIL, evil_shelf, small_shelf

from zslkit.errors import UserError
from zslkit.page import write as writing
from zslkit.page.gather import gather
from zslkit.page.render import embedded
from zslkit.page.write import DATA, INDEX, write
from zslkit.report.as_data import as_json
from zslkit.report.blocks import blocks_of
from zslkit.runs.scores import Scores


class Parsed(HTMLParser):
    """tags: (name, attributes) in order; text: what a reader sees; data: the JSON of the page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.data = "", ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") or "" if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data += data
        self.text += data


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("evil")
    written = write(gather([], evil_shelf(folder / "runs")), folder / "page")
    return written.index.read_text(encoding="utf-8")


def test_names_that_look_like_markup_stay_text(evil: str) -> None:
    page = Parsed(evil)
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [
        {"type": "application/json", "id": "data"},
        {},
    ]
    assert not [
        tag
        for tag, _ in page.tags
        if tag in ("img", "iframe", "object", "embed", "link", "base", "form")
    ]
    assert not [
        name
        for _, attributes in page.tags
        for name in attributes
        if name.startswith("on") or name == "style"
    ]
    for name in (EVIL[0], EVIL[1], EVIL[2], EVIL[4]):
        assert name in page.text


def test_the_embedded_data_ends_no_script_and_reads_back(evil: str) -> None:
    page = Parsed(evil)
    assert "<" not in page.data and ">" not in page.data
    assert json.loads(page.data)["b0"]["classes"][:5] == list(EVIL)
    assert json.loads(embedded({"a": EVIL, "b": 1.5})) == {"a": list(EVIL), "b": 1.5}


def test_marks_that_turn_the_reading_order_are_not_shown(evil: str) -> None:
    assert "\u202e" not in evil


def test_nothing_is_loaded_from_elsewhere(evil: str) -> None:
    (policy,) = [
        a["content"]
        for tag, a in Parsed(evil).tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy and policy.startswith("default-src 'none'") and "unsafe" not in policy
    for _, attributes in Parsed(evil).tags:
        for name in ("src", "href", "action", "data"):
            assert not re.match(r"[a-z]+:|//", attributes.get(name) or "", re.IGNORECASE)
    assert "url(" not in evil and "@import" not in evil


def test_the_data_beside_the_page_is_that_of_the_comparison(tmp_path: Path) -> None:
    found = gather([], small_shelf(tmp_path / "runs"))
    write(found, tmp_path / "page")
    data = json.loads((tmp_path / "page" / DATA).read_text(encoding="utf-8"))
    assert data["blocks"] == json.loads(json.dumps(as_json(blocks_of(found.runs))))


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    found = gather([], small_shelf(tmp_path / "runs"))
    texts = []
    for name in ("a", "b"):
        write(found, tmp_path / name)
        texts.append([(tmp_path / name / file).read_bytes() for file in (INDEX, DATA)])
    assert texts[0] == texts[1]


def test_what_cannot_be_shown_is_on_the_page_and_told(tmp_path: Path) -> None:
    out = small_shelf(tmp_path / "runs")
    next((out / "fish" / "alpha").glob("seed*")).joinpath("record.json").write_text(
        "{", encoding="utf-8"
    )
    told: list[str] = []
    written = write(gather([], out), tmp_path / "page", tell=told.append)
    text = Parsed((tmp_path / "page" / INDEX).read_text(encoding="utf-8")).text
    assert told == list(written.left_out) and len(told) == 1
    assert told[0] in text
    assert "gamma has no interval and stands in no test" in text  # its scores are gone


def test_a_former_report_is_replaced_and_an_empty_folder_filled(tmp_path: Path) -> None:
    found = gather([], small_shelf(tmp_path / "runs"))
    (tmp_path / "page").mkdir()
    write(found, tmp_path / "page")
    write(found, tmp_path / "page", title="Second")
    assert "<title>Second</title>" in (tmp_path / "page" / INDEX).read_text(encoding="utf-8")
    assert sorted(p.name for p in (tmp_path / "page").iterdir()) == [INDEX, DATA]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page", "runs"]


@pytest.mark.parametrize(
    "name", ["thesis.tex", "images/0000.png", "images/deep/0000.jpg", ".hidden"]
)
def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path, name: str) -> None:
    found = gather([], small_shelf(tmp_path / "runs"))
    write(found, tmp_path / "page")
    mine = tmp_path / "page" / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"which no report wrote.*name another"):
        write(found, tmp_path / "page")
    assert mine.read_text(encoding="utf-8") == "mine"


def test_another_page_a_file_and_a_missing_parent_are_refused(tmp_path: Path) -> None:
    found = gather([], small_shelf(tmp_path / "runs"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / INDEX).write_text("<html>my site</html>", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    for target, said in (
        ("site", "no report wrote"),
        ("file", "is no folder"),
        ("no/where", "in no folder that exists"),
    ):
        with pytest.raises(UserError, match=said):
            write(found, tmp_path / target)
    assert (tmp_path / "site" / INDEX).read_text(encoding="utf-8") == "<html>my site</html>"


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    found = gather([], small_shelf(tmp_path / "runs"))
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "link")
    write(found, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / INDEX).is_file()


def test_a_failure_leaves_the_former_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = gather([], small_shelf(tmp_path / "runs"))
    write(found, tmp_path / "page", title="First")
    monkeypatch.setattr(writing, "page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(found, tmp_path / "page")
    assert "<title>First</title>" in (tmp_path / "page" / INDEX).read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page", "runs"]


def test_twelve_models_on_two_hundred_classes_stay_below_two_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = np.arange(200) < 150
    labels = np.resize(np.arange(150), 300), np.resize(np.arange(150, 200), 300)
    names = tuple(f"{k:03d}.A_rather_long_name_of_a_class" for k in range(200))
    for i in range(12):
        scores = Scores(
            rng.standard_normal((300, 200)).astype(np.float32)
            + 2 * np.eye(200, dtype=np.float32)[labels[0]],
            labels[0],
            rng.standard_normal((300, 200)).astype(np.float32)
            + 2 * np.eye(200, dtype=np.float32)[labels[1]],
            labels[1],
            seen,
            names,
        )
        for seed in (0, 1):
            make_run(tmp_path / "runs", f"model{i}", scores, seed)
    assert write(gather([], tmp_path / "runs"), tmp_path / "page").page_bytes < 2_000_000


def test_runs_without_scores_and_without_time_have_a_page_too(tmp_path: Path) -> None:
    costs = {"train_seconds": 0.0}
    for name in ("alpha", "beta", "gamma"):
        folder = make_run(tmp_path / "runs", name, random_scores(1.0), costs=costs)
        (folder / "scores.npz").write_bytes(b"PK cut")
    write(gather([], tmp_path / "runs"), tmp_path / "page")
    text = (tmp_path / "page" / INDEX).read_text(encoding="utf-8")
    assert text.count("has no interval and stands in no test") == 3
    assert "-curves" not in text.split("</style>")[1] and "Cost and result" not in text


def test_a_model_that_answers_only_seen_classes_has_a_page_too(tmp_path: Path) -> None:
    scores = random_scores(1.0)
    for part in (scores.test_seen_scores, scores.test_unseen_scores):
        part[:, 4:] = -100.0
    for name in ("alpha", "beta", "gamma"):
        make_run(tmp_path / "runs", name, scores)
    text = write(gather([], tmp_path / "runs"), tmp_path / "page").index.read_text(encoding="utf-8")
    assert "0 of 3 pairs differ significantly" in text
