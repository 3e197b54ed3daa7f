"""The leaderboard of a block: cells as in `zslkit compare`, with sort values."""

from __future__ import annotations

from dataclasses import dataclass

from zslkit.page.scale import Scale
from zslkit.report.badges import Badge, Badges
from zslkit.report.block import COSTS, Block, Row
from zslkit.report.comparability import Comparability
from zslkit.report.published import Published
from zslkit.report.tables import Cell, grid, how_published

ASCENDING = ("model", "parameters", "training", "peak memory")
"""Columns sorted upwards on the first click, since less is better."""
_SAID = {
    "runs": "Runs, one a seed",
    "T1": "Unseen images among unseen classes, % (mean over classes)",
    "U": "Unseen images among all classes, % (mean over classes)",
    "S": "Seen images among all classes, % (mean over classes)",
    "H": "Harmonic mean of U and S, %; in brackets its 95 % interval over draws of the test images",
    "H, gamma 0": "H without calibration, %",
    "AUSUC": "Area under the curve of S over U, 0 to 1",
    "parameters": "Numbers that the model holds",
    "training": "Time of training, without extraction of features",
    "peak memory": "Of the process on a CPU, of the device elsewhere",
}


@dataclass(frozen=True)
class Column:
    """One column; first: "ascending" or "descending", the order of the first click."""

    name: str
    explanation: str
    first: str


@dataclass(frozen=True)
class TableFigure:
    """One cell: mean ± spread, and what it is sorted by, "" for nothing. doubted: a published value
    that is not confirmed."""

    mean: str
    spread: str = ""
    interval: str = ""
    best: bool = False
    value: str = ""
    doubted: bool = False


@dataclass(frozen=True)
class TableLine:
    """One row of our runs; key: its anchor on the page, badges: those that not all rows of the
    block share, whisker: low end, mean and high end of H's interval, 0..100 on the block's scale.
    """

    key: str
    row: Row
    badges: tuple[Badge, ...]
    all_badges: tuple[Badge, ...]
    cells: tuple[TableFigure, ...]
    whisker: tuple[float, ...] | None

    @property
    def protocol(self) -> str:
        return next((badge.text for badge in self.all_badges if badge.kind == "protocol"), "")


@dataclass(frozen=True)
class Guest:
    """A published row (made: how) or chance, below our runs and never ranked among them."""

    name: str
    remark: str
    cells: tuple[TableFigure, ...]
    published: Published | None = None
    made: str = ""


@dataclass(frozen=True)
class Board:
    """Leaderboard: metrics and costs as columns, our rows by H with the best first, guests, badges
    that all rows share, and the scale of the intervals of H."""

    columns: tuple[Column, ...]
    lines: tuple[TableLine, ...]
    guests: tuple[Guest, ...]
    shared: tuple[Badge, ...]
    axis: Scale | None


def marks_of(made: Badges, setting: Comparability) -> tuple[Badge, ...]:
    """Badges of a row, without those that the title of its block, `setting`, contains."""
    usual = {"split", *(["semantics"] if setting.kind == "attributes" else [])}
    return tuple(mark for mark in made.marks() if mark.kind not in usual)


def board(block: Block, place: int) -> Board:
    """Leaderboard of the block number `place` on the page."""
    content = grid(block)
    names = content.header[1:-1]
    badges = [marks_of(row.made, block.setting) for row in block.rows]
    shared = [badge for badge in badges[0] if all(badge in others for others in badges)]
    ends = [end for row in block.rows if "H" in row.intervals for end in row.intervals["H"]]
    axis = Scale.around(ends, 0, 100) if ends else None
    lines = [
        TableLine(
            key=f"b{place}r{i}",
            row=row,
            badges=tuple(badge for badge in badges[i] if badge not in shared),
            all_badges=badges[i],
            cells=tuple(
                _figure(cell, _value(row, name))
                for name, cell in zip(names, content.rows[i][1:-1], strict=True)
            ),
            whisker=_whisker(row, axis),
        )
        for i, row in enumerate(block.rows)
    ]
    lines.sort(key=lambda line: -line.row.metrics["H"].mean)
    columns = [
        Column(name, _SAID.get(name, ""), "ascending" if name in ASCENDING else "descending")
        for name in names
    ]
    guests = _guests(block, content.rows[len(block.rows) :], names)
    return Board(tuple(columns), tuple(lines), tuple(guests), tuple(shared), axis)


def _value(row: Row, column: str) -> float | None:
    """Unrounded number of a column."""
    if column == "runs":
        return row.n
    if column == "H, gamma 0":
        return row.uncalibrated_H.mean
    if column in row.metrics:
        return row.metrics[column].mean
    stat = row.costs[COSTS[("parameters", "training", "peak memory").index(column)]]
    return None if stat is None else stat.mean


def _figure(cell: Cell, value: float | None) -> TableFigure:
    mean, _, spread = cell.text.partition(" ± ")
    return TableFigure(mean, spread, cell.interval, cell.bold, _sorted_by(value))


def _guests(
    block: Block, rows: tuple[tuple[Cell, ...], ...], names: tuple[str, ...]
) -> list[Guest]:
    guests = []
    for entry, cells in zip([None, *block.published], rows, strict=True):
        known = block.chance if entry is None else entry.figures()
        figures = [
            TableFigure(
                cell.text.removesuffix("?"),
                value=_sorted_by(known.get("H" if entry is None and name[0] == "H" else name)),
                doubted=cell.text.endswith("?"),
            )
            for name, cell in zip(names, cells[1:-1], strict=True)
        ]
        name, made = (entry.method, how_published(entry)) if entry else ("chance", "")
        guests.append(Guest(name, cells[-1].text, tuple(figures), entry, made))
    return guests


def _sorted_by(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _whisker(row: Row, axis: Scale | None) -> tuple[float, ...] | None:
    if axis is None or (bounds := row.intervals.get("H")) is None:
        return None
    return tuple(round(axis.at(h), 2) for h in (bounds[0], row.metrics["H"].mean, bounds[1]))
