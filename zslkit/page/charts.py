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
from zslkit.page.scale import Scale
from zslkit.report.comparison import Block
from zslkit.report.sampling import pair_sentence
from zslkit.report.tables import seconds_words
from zslkit.runs.folders import Run

WIDTH, HEIGHT = 440, 380
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 42
POINTS = 160
"""Points per curve; more would not be visible at this size."""
COLOURS = 8
"""Hues of the palette, which colour-blind readers can distinguish."""
LABEL = 32
"""Width of the text "H 50" with the space around it."""
SHOWN = 6
"""Curves in colour at first."""


@dataclass(frozen=True)
class Trace:
    """Curves of one row.

    Attributes:
        line: The row.
        hue: 0..COLOURS - 1.
        shown: Whether it is in colour at first.
        paths: SVG points, one string per seed.
        at: Position of its result (U, S).
    """

    line: TableLine
    hue: int
    shown: bool
    paths: tuple[str, ...]
    at: tuple[float, float]


@dataclass(frozen=True)
class Curves:
    """S over U of all rows with readable scores.

    Attributes:
        x: Scale of U.
        y: Scale of S.
        traces: Curves.
        equal: Lines of equal H, as (H, SVG points, label position).
    """

    x: Scale
    y: Scale
    traces: tuple[Trace, ...]
    equal: tuple[tuple[int, str, tuple[float, float]], ...]


@dataclass(frozen=True)
class Dot:
    """One row in the scatter plot.

    Attributes:
        line: The row.
        x: Position.
        y: Position.
        low: Lower end of the interval.
        high: Upper end of the interval.
        text: Position of the label.
        anchor: SVG text anchor of the label.
        explanation: Description.
    """

    line: TableLine
    x: float
    y: float
    low: float | None
    high: float | None
    text: tuple[float, float]
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
    """Difference in H between a row and a column in percent points.

    Attributes:
        text: The difference.
        sign: "above", "below", or "" if not significant.
        explanation: Sentence.
    """

    text: str
    sign: str
    explanation: str


def curves(board: Board, runs: Mapping[str, Run], high: float = 100.0) -> Curves | None:
    """S over U for every run with readable scores; None if there are none.

    The block's notes name the other runs.
    """
    found: list[tuple[TableLine, list[Curve]]] = []
    for line in board.lines:
        try:
            found.append(
                (
                    line,
                    [
                        checked_sets(*runs[folder].scores().sets()).curve()
                        for folder in line.row.folders
                    ],
                )
            )
        except DataError:
            continue
    if not found:
        return None
    most = [
        100 * max(float(getattr(curve, side).max()) for _, several in found for curve in several)
        for side in ("unseen", "seen")
    ]
    x, y = (
        Scale(0, min(high, math.ceil((end + 1) / 10) * 10), *span)
        for end, span in zip(most, (_across(), _up()), strict=True)
    )
    traces = [
        Trace(
            line,
            i % COLOURS,
            i < SHOWN,
            tuple(_path(curve, x, y) for curve in several),
            (
                round(x.at(line.row.metrics["U"].mean), 1),
                round(y.at(line.row.metrics["S"].mean), 1),
            ),
        )
        for i, (line, several) in enumerate(found)
    ]
    return Curves(
        x,
        y,
        tuple(traces),
        _lines_of_h(x, y),
    )


def _path(curve: Curve, x: Scale, y: Scale) -> str:
    u, s = 100 * curve.unseen, 100 * curve.seen
    # Evenly spaced along the curve, with both ends.
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(u)) + np.abs(np.diff(s)))])
    even = np.linspace(0, length[-1], POINTS)
    kept = np.unique(np.searchsorted(length, even).clip(0, len(u) - 1))
    return " ".join(
        f"{x.at(a):.1f},{y.at(b):.1f}"
        for a, b in zip(u[kept].tolist(), s[kept].tolist(), strict=True)
    )


def _lines_of_h(x: Scale, y: Scale) -> tuple[tuple[int, str, tuple[float, float]], ...]:
    """Lines of H 10, 20, ... with labels beside them that do not lie over each other.

    A label stands at the upper end of its line, or as far down the line as others force it.
    """
    lines = []
    taken: list[tuple[float, float]] = []
    for h in range(10, 100, 10):
        if h < min(x.high, y.high):
            points = _equal(h, x, y)
            free = [p for p in points if all(_apart(p, other) for other in taken)]
            at = next((p for p in free if p[0] <= WIDTH - LABEL), points[0])
            taken.append(at)
            text = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            lines.append((h, text, (round(at[0], 1), round(at[1], 1))))
    return tuple(lines)


def _apart(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether two labels of four letters at these corners do not overlap."""
    return abs(a[0] - b[0]) >= LABEL or abs(a[1] - b[1]) >= 12


def _equal(h: int, x: Scale, y: Scale) -> list[tuple[float, float]]:
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
    x, y = Scale.around([t for _, t in timed], *_across(), log=True), Scale.around(heights, *_up())
    dots: list[Dot] = []
    taken: list[tuple[float, float, float, float]] = [
        (
            x.at(t) - 5,
            y.at(line.row.metrics["H"].mean) - 5,
            x.at(t) + 5,
            y.at(line.row.metrics["H"].mean) + 5,
        )
        for line, t in timed
    ]
    for line, t in timed:
        at = x.at(t), y.at(line.row.metrics["H"].mean)
        text, anchor = _label(at, line.row.model, taken)
        bounds = line.row.intervals.get("H")
        low, high = (round(y.at(end), 1) for end in bounds) if bounds else (None, None)
        about = f"{line.row.label}: H {line.row.metrics['H'].mean:.1f}, training {seconds_words(t)}"
        dots.append(Dot(line, round(at[0], 1), round(at[1], 1), low, high, text, anchor, about))
    return Scatter(
        x,
        y,
        tuple((round(x.at(t), 1), f"{t:g} s" if t < 60 else seconds_words(t)) for t in x.ticks()),
        tuple(dots),
    )


def _label(
    at: tuple[float, float], text: str, taken: list[tuple[float, float, float, float]]
) -> tuple[tuple[float, float], str]:
    """Position of a label with the least overlap: right, left, above or below its dot."""
    width = 6.6 * min(len(text), 24)
    choices = []
    for dx, dy, anchor in (
        (9, 4, "start"),
        (-9, 4, "end"),
        (8, -9, "start"),
        (-8, -9, "end"),
        (8, 16, "start"),
        (-8, 16, "end"),
    ):
        left = at[0] + dx - (width if anchor == "end" else 0)
        box = (left, at[1] + dy - 10, left + width, at[1] + dy + 2)
        outside = max(0.0, LEFT - box[0]) + max(0.0, box[2] - (WIDTH - 2))
        overlap = sum(
            max(0.0, min(box[2], b[2]) - max(box[0], b[0]))
            * max(0.0, min(box[3], b[3]) - max(box[1], b[1]))
            for b in taken
        )
        choices.append(
            (overlap + 50 * outside, box, (round(at[0] + dx, 1), round(at[1] + dy, 1)), anchor)
        )
    _, box, place, anchor = min(choices, key=lambda choice: choice[0])
    taken.append(box)
    return place, anchor


def _across() -> tuple[int, int]:
    return LEFT, WIDTH - RIGHT


def _up() -> tuple[int, int]:
    return HEIGHT - BOTTOM, TOP


def per_class(board: Board, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Accuracy of each class among all classes, as means over seeds, for the page's script.

    Unseen classes are read from scores, since records do not contain them.

    Returns:
        {"classes": [names], "unseen": [bool or null], "rows": {key: [percent or null]}}; null if
        unknown.
    """
    first = runs[board.lines[0].row.folders[0]].record
    names = list(first.per_class)
    rows = {}
    for line in board.lines:
        of_seeds = [runs[folder].record.per_class for folder in line.row.folders]
        rows[line.key] = [_mean([of_seed.get(name) for of_seed in of_seeds]) for name in names]
    return {"classes": names, "unseen": _unseen(names, board, runs), "rows": rows}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 2) if known else None


def _unseen(names: Sequence[str], board: Board, runs: Mapping[str, Run]) -> list[bool | None]:
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
        for a, b, difference in (
            (pair.a, pair.b, pair.difference),
            (pair.b, pair.a, -pair.difference),
        ):
            sign = ("above" if difference > 0 else "below") if pair.significant else ""
            found[keys[id(block.rows[a])], keys[id(block.rows[b])]] = Pairing(
                _signed(difference), sign, sentence
            )
    return found


def _signed(points: float) -> str:
    """Difference with one digit and a typographic minus; zero after rounding has no sign."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\u2212")
