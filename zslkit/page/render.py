"""Renders the page: escaped names, and a content security policy that allows no other source."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zslkit import __version__
from zslkit.page.board import board, marks_of
from zslkit.page.charts import curves, pairings, per_class, scatter
from zslkit.page.details import details
from zslkit.page.on_test import on_test
from zslkit.page.pictures import Gallery
from zslkit.page.training import courses
from zslkit.report.as_data import as_json
from zslkit.report.badges import KINDS, Badge
from zslkit.report.block import METRICS, Block
from zslkit.report.sampling import sentences_of
from zslkit.report.tables import plain, remarks
from zslkit.runs.folders import Run

GENERATOR = '<meta name="generator" content="zslkit report">'
SCRIPTS = ("board.js", "marks.js", "classes.js")


class Section:
    """One block on the page, by its number, which stands in anchors; faults: a sentence for each
    thing that it cannot show."""

    def __init__(self, place: int, block: Block, runs: Mapping[str, Run]) -> None:
        self.place, self.block, self.board = place, block, board(block, place)
        lines = self.board.lines
        self.on_test = on_test(block, lines, self.board.shared)
        self.details = [details(line, runs) for line in lines]
        self.curves = curves(self.board, runs)
        self.scatter = scatter(self.board)
        self.courses, self.faults = courses(lines, runs)
        labels = {line.key: line.row.label for line in lines}
        self.classes = {**per_class(self.board, runs), "labels": labels}
        self.pairings = pairings(block, self.board)
        self.galleries: Sequence[Gallery] = ()

    @property
    def verdicts(self) -> list[str]:
        """Sentences of compare on intervals and pairs."""
        found = self.block.sampling
        return [] if found is None else sentences_of(found, self.block.names)

    @property
    def notes(self) -> list[str]:
        """Other notes of compare."""
        notes = (*self.block.notes, *remarks(self.block))
        return [note for note in notes if note not in self.verdicts]


def page(
    sections: Sequence[Section], runs: Sequence[Run], left_out: Sequence[str], title: str = ""
) -> tuple[str, str]:
    """The page, and its numbers as JSON as in `zslkit compare --json`. Deterministic."""
    environment = _environment()
    style, script = _source("style.css"), "\n".join(_source(name) for name in SCRIPTS)
    figures = {
        "zslkit": __version__,
        "blocks": as_json([section.block for section in sections]),
        "left_out": list(left_out),
    }
    datasets = list(dict.fromkeys(section.block.setting.dataset for section in sections))
    finished = sorted(run.record.finished for run in runs)
    text = environment.get_template("page.html").render(
        title=title or f"Generalized zero-shot learning on {', '.join(datasets)}",
        generator=Markup(GENERATOR),
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        version=__version__,
        sections=sections,
        n_runs=len(runs),
        since=finished[0][:10],
        until=finished[-1][:10],
        left_out=left_out,
        datasets=datasets,
        protocols=sorted({line.protocol for section in sections for line in section.board.lines}),
        metrics=METRICS,
        meanings=_meanings(sections),
        data=embedded({f"b{section.place}": section.classes for section in sections}),
    )
    return text, json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def embedded(value: Any) -> Markup:
    """JSON that is safe inside HTML: <, > and & are escaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _meanings(sections: Sequence[Section]) -> dict[str, str]:
    """Explanations of the page's badges as text, for readers who cannot hover."""
    marks: list[Badge] = []
    for section in sections:
        for line in section.board.lines:
            marks += line.all_badges
        for picked in section.block.on_test or ():
            marks += marks_of(picked.made, section.block.setting)
    marks.sort(key=lambda mark: KINDS.index(mark.kind))
    return {mark.text: mark.explanation for mark in marks if mark.explanation}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("zslkit.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _shown(value: Any) -> Any:
    """Text without control characters, such as right-to-left marks."""
    return plain(value.translate(_SPACES)) if type(value) is str else value


_SPACES = {ord(c): " " for c in "\t\n\r"}


def _breakable(name: str) -> Markup:
    """Name with possible line breaks after each _ and -, for narrow columns."""
    return Markup("<wbr>").join(part for part in re.split(r"(?<=[_-])", plain(name)) if part)


def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _policy(style: str, script: str) -> str:
    """Allows only the page's own style and script, by digest, and pictures from its folder."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src 'self' file:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
