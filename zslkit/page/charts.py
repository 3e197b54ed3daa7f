"""Charts of a block in pixel coordinates: seen-unseen curves, cost against H, classes, pairs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zslkit.errors import DataError
from zslkit.evaluation.metrics import Curve
from zslkit.evaluation.sets import checked_sets
from zslkit.page.board import Board, TableLine
from zslkit.page.scale import Scale, path
from zslkit.report.block import Block
from zslkit.report.sampling import pair_sentence
from zslkit.report.tables import seconds_words
from zslkit.runs.folders import Run

WIDTH, HEIGHT = 440, 380
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 42
POINTS = 160
"""Points per curve; more would not be visible at this size."""
ACROSS, UP = (LEFT, WIDTH - RIGHT), (HEIGHT - BOTTOM, TOP)
"""Ends of the two scales."""
COLOURS = 8
"""Hues of the palette, which colour-blind readers can distinguish."""
LABEL = 32
"""Width of the text "H 50" with the space around it."""
SHOWN = 6
"""Curves in colour at first."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Trace:
    """Curves of one row as SVG points, one string a seed; at: position of its result (U, S), shown:
    whether it is in colour at first."""

    line: TableLine
    hue: int
    shown: bool
    paths: tuple[str, ...]
    at: Point


@dataclass(frozen=True)
class Curves:
    """S over U of all rows with readable scores; equal: lines of one H each, as (H, SVG points,
    position of the label)."""

    x: Scale
    y: Scale
    traces: tuple[Trace, ...]
    equal: tuple[tuple[int, str, Point], ...]


@dataclass(frozen=True)
class Dot:
    """One row in the scatter plot, with the ends of its interval and the place of its label."""

    line: TableLine
    x: float
    y: float
    low: float | None
    high: float | None
    text: Point
    anchor: str
    explanation: str


@dataclass(frozen=True)
class Scatter:
    x: Scale
    y: Scale
    ticks: tuple[tuple[float, str], ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Pairing:
    """Difference in H between a row and a column in percent points; sign: "above", "below", or ""
    if it is not significant."""

    text: str
    sign: str
    explanation: str


def curves(board: Board, runs: Mapping[str, Run]) -> Curves | None:
    """S over U for every run with readable scores; None if there are none.

    The block's notes name the other runs.
    """
    found: list[tuple[TableLine, list[Curve]]] = []
    for line in board.lines:
        try:
            scores = [runs[folder].scores() for folder in line.row.folders]
            found.append((line, [checked_sets(*one.sets()).curve() for one in scores]))
        except DataError:
            continue
    if not found:
        return None
    x, y = (
        Scale(0, min(100.0, math.ceil((100 * most + 1) / 10) * 10), *ends)
        for ends, most in (
            (ACROSS, max(float(curve.unseen.max()) for _, several in found for curve in several)),
            (UP, max(float(curve.seen.max()) for _, several in found for curve in several)),
        )
    )
    traces = [
        Trace(
            line,
            i % COLOURS,
            i < SHOWN,
            tuple(_curve_path(curve, x, y) for curve in several),
            _rounded(x.at(line.row.metrics["U"].mean), y.at(line.row.metrics["S"].mean)),
        )
        for i, (line, several) in enumerate(found)
    ]
    return Curves(x, y, tuple(traces), _lines_of_h(x, y))


def _rounded(x: float, y: float) -> Point:
    return round(x, 1), round(y, 1)


def _curve_path(curve: Curve, x: Scale, y: Scale) -> str:
    u, s = 100 * curve.unseen, 100 * curve.seen
    # Evenly spaced along the curve, with both ends.
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(u)) + np.abs(np.diff(s)))])
    even = np.linspace(0, length[-1], POINTS)
    kept = np.unique(np.searchsorted(length, even).clip(0, len(u) - 1))
    return path(x, y, zip(u[kept].tolist(), s[kept].tolist(), strict=True))


def _lines_of_h(x: Scale, y: Scale) -> tuple[tuple[int, str, Point], ...]:
    """Lines of H 10, 20, ... with labels beside them that do not lie over each other.

    A label stands at the upper end of its line, or as far down the line as others force it.
    """
    lines = []
    taken: list[Point] = []
    for h in range(10, 100, 10):
        if h < min(x.high, y.high):
            points = _equal(h, x, y)
            free = [p for p in points if all(_apart(p, other) for other in taken)]
            at = next((p for p in free if p[0] <= WIDTH - LABEL), points[0])
            taken.append(at)
            text = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            lines.append((h, text, _rounded(*at)))
    return tuple(lines)


def _apart(a: Point, b: Point) -> bool:
    """Whether two labels of four letters at these corners do not overlap."""
    return abs(a[0] - b[0]) >= LABEL or abs(a[1] - b[1]) >= 12


def _equal(h: int, x: Scale, y: Scale) -> list[Point]:
    """Positions of all (U, S) with 2US / (U + S) = h inside the chart, from the top down."""
    least = h * y.high / (2 * y.high - h)  # U where the line leaves the chart at the top
    u = np.geomspace(least, x.high, 80)
    s = h * u / (2 * u - h)
    return [(x.at(a), y.at(b)) for a, b in zip(u.tolist(), s.tolist(), strict=True)]


def scatter(board: Board) -> Scatter | None:
    """Training time, on a logarithmic scale, against H; None if no time is above 0."""
    timed = [
        (line, cost.mean)
        for line in board.lines
        if (cost := line.row.costs["train_seconds"]) is not None and cost.mean > 0
    ]
    if not timed:
        return None
    heights = [
        h
        for line, _ in timed
        for h in (line.row.metrics["H"].mean, *line.row.intervals.get("H", ()))
    ]
    x, y = Scale.around([t for _, t in timed], *ACROSS, log=True), Scale.around(heights, *UP)
    dots: list[Dot] = []
    places = [(x.at(t), y.at(line.row.metrics["H"].mean)) for line, t in timed]
    taken: list[Box] = [(a - 5, b - 5, a + 5, b + 5) for a, b in places]
    for (line, t), at in zip(timed, places, strict=True):
        text, anchor = _label(at, line.row.model, taken)
        bounds = line.row.intervals.get("H")
        low, high = (round(y.at(end), 1) for end in bounds) if bounds else (None, None)
        about = f"{line.row.label}: H {line.row.metrics['H'].mean:.1f}, training {seconds_words(t)}"
        dots.append(Dot(line, *_rounded(*at), low, high, text, anchor, about))
    return Scatter(
        x,
        y,
        tuple((round(x.at(t), 1), f"{t:g} s" if t < 60 else seconds_words(t)) for t in x.ticks()),
        tuple(dots),
    )


def _label(at: Point, text: str, taken: list[Box]) -> tuple[Point, str]:
    """Position of a label with the least overlap: right, left, above or below its dot."""
    width = 6.6 * min(len(text), 24)
    choices = []
    for dx, dy in ((9, 4), (-9, 4), (8, -9), (-8, -9), (8, 16), (-8, 16)):
        anchor = "start" if dx > 0 else "end"
        left = at[0] + dx - (width if anchor == "end" else 0)
        box = (left, at[1] + dy - 10, left + width, at[1] + dy + 2)
        outside = max(0.0, LEFT - box[0]) + max(0.0, box[2] - (WIDTH - 2))
        overlap = sum(
            max(0.0, min(box[2], b[2]) - max(box[0], b[0]))
            * max(0.0, min(box[3], b[3]) - max(box[1], b[1]))
            for b in taken
        )
        choices.append((overlap + 50 * outside, box, _rounded(at[0] + dx, at[1] + dy), anchor))
    _, box, place, anchor = min(choices, key=lambda choice: choice[0])
    taken.append(box)
    return place, anchor


def per_class(board: Board, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Accuracy of each class among all classes, as means over seeds, for the page's script:
    {"classes": [names], "unseen": [bool or null], "rows": {key: [percent or null]}}; null if
    unknown."""
    first = runs[board.lines[0].row.folders[0]].record
    names = list(first.per_class)
    rows = {}
    for line in board.lines:
        of_seeds = [runs[folder].record.per_class for folder in line.row.folders]
        known = (
            [value for own in of_seeds if (value := own.get(name)) is not None] for name in names
        )
        rows[line.key] = [round(statistics.fmean(v), 2) if v else None for v in known]
    return {"classes": names, "unseen": _unseen(names, board, runs), "rows": rows}


def _unseen(names: Sequence[str], board: Board, runs: Mapping[str, Run]) -> list[bool | None]:
    """From the scores, since records do not tell."""
    for folder in (folder for line in board.lines for folder in line.row.folders):
        try:
            scores = runs[folder].scores()
        except DataError:
            continue
        side = dict(zip(scores.classes, (~scores.seen).tolist(), strict=True))
        return [side.get(name) for name in names]
    return [None] * len(names)


def pairings(block: Block, board: Board) -> dict[tuple[str, str], Pairing]:
    """(key of a row, key of another) -> difference in H and its significance."""
    if block.sampling is None:
        return {}
    keys = {id(line.row): line.key for line in board.lines}
    names, found = block.names, {}
    for pair in block.sampling.pairs:
        sentence = pair_sentence(pair, names)
        a, b = keys[id(block.rows[pair.a])], keys[id(block.rows[pair.b])]
        for place, points in (((a, b), pair.difference), ((b, a), -pair.difference)):
            sign = ("above" if points > 0 else "below") if pair.significant else ""
            found[place] = Pairing(_signed(points), sign, sentence)
    return found


def _signed(points: float) -> str:
    """Difference with one digit and a typographic minus; zero after rounding has no sign."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\u2212")
