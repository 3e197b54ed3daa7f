"""The leaderboard of a block: cells as in `zslkit compare`, with sort values."""

from __future__ import annotations

from dataclasses import dataclass

from zslkit.page.badges import Badge, marks_of
from zslkit.page.scale import Scale
from zslkit.report.comparison import COSTS, Block, Row
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
    """One column.

    Attributes:
        name: Name as in tables.
        explanation: Explanation.
        first: Order of the first click.
    """

    name: str
    explanation: str
    first: str


@dataclass(frozen=True)
class TableFigure:
    """One cell.

    Attributes:
        mean: Text before the ±.
        spread: Text after it.
        interval: Interval.
        best: Whether it is the best of its column.
        value: Sort value, "" for none.
        doubted: Whether a published value is unconfirmed.
    """

    mean: str
    spread: str
    interval: str
    best: bool
    value: str
    doubted: bool = False


@dataclass(frozen=True)
class Whisker:
    """Interval of H as positions 0..100 on the block's scale."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class TableLine:
    """One row of our runs.

    Attributes:
        key: Anchor on the page.
        row: The row.
        badges: Badges that not all rows of the block share.
        all_badges: All badges.
        cells: Cells.
        whisker: Interval of H.
    """

    key: str
    row: Row
    badges: tuple[Badge, ...]
    all_badges: tuple[Badge, ...]
    cells: tuple[TableFigure, ...]
    whisker: Whisker | None

    @property
    def protocol(self) -> str:
        return next((badge.text for badge in self.all_badges if badge.kind == "protocol"), "")


@dataclass(frozen=True)
class Guest:
    """A published row or chance, below our runs and never ranked among them.

    Attributes:
        name: Name.
        remark: Last column.
        cells: Cells.
        published: The published result.
        made: How a published row was produced.
    """

    name: str
    remark: str
    cells: tuple[TableFigure, ...]
    published: Published | None = None
    made: str = ""


@dataclass(frozen=True)
class Board:
    """Leaderboard.

    Attributes:
        columns: Metrics and costs, without the model.
        lines: Rows by H, best first.
        guests: Published rows and chance.
        shared: Badges of all rows.
        axis: Scale of the intervals of H.
    """

    columns: tuple[Column, ...]
    lines: tuple[TableLine, ...]
    guests: tuple[Guest, ...]
    shared: tuple[Badge, ...]
    axis: Scale | None


def board(block: Block, place: int) -> Board:
    """Leaderboard of the block number `place` on the page."""
    content = grid(block)
    names = content.header[1:-1]
    badges = [marks_of(row.made, block.setting) for row in block.rows]
    shared = [badge for badge in badges[0] if all(badge in others for others in badges)]
    axis = _axis(block)
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
    return Board(
        columns=tuple(
            Column(name, _SAID.get(name, ""), "ascending" if name in ASCENDING else "descending")
            for name in names
        ),
        lines=tuple(lines),
        guests=tuple(_guests(block, content.rows[len(block.rows) :], names)),
        shared=tuple(shared),
        axis=axis,
    )


def _value(row: Row, column: str) -> float | None:
    """Unrounded number of a column."""
    if column == "runs":
        return row.n
    if column == "H, gamma 0":
        return row.uncalibrated_H.mean
    if column in row.metrics:
        return row.metrics[column].mean
    stat = row.costs[
        dict(zip(("parameters", "training", "peak memory"), COSTS, strict=True))[column]
    ]
    return None if stat is None else stat.mean


def _figure(cell: Cell, value: float | None) -> TableFigure:
    mean, _, spread = cell.text.partition(" ± ")
    return TableFigure(
        mean, spread, cell.interval, cell.bold, "" if value is None else repr(float(value))
    )


def _guests(
    block: Block, rows: tuple[tuple[Cell, ...], ...], names: tuple[str, ...]
) -> list[Guest]:
    entries: list[Published | None] = [None, *block.published]
    guests = []
    for entry, cells in zip(entries, rows, strict=True):
        figures = []
        for name, cell in zip(names, cells[1:-1], strict=True):
            value = (
                entry.figures().get(name)
                if entry
                else block.chance.get("H" if name.startswith("H") else name)
            )
            doubted = cell.text.endswith("?")
            figures.append(
                TableFigure(
                    cell.text.removesuffix("?"),
                    "",
                    "",
                    False,
                    "" if value is None else repr(float(value)),
                    doubted,
                )
            )
        guests.append(
            Guest(
                entry.method if entry else "chance",
                cells[-1].text,
                tuple(figures),
                entry,
                how_published(entry) if entry else "",
            )
        )
    return guests


def _axis(block: Block) -> Scale | None:
    ends = [end for row in block.rows if "H" in row.intervals for end in row.intervals["H"]]
    return Scale.around(ends, 0, 100) if ends else None


def _whisker(row: Row, axis: Scale | None) -> Whisker | None:
    bounds = row.intervals.get("H")
    if axis is None or bounds is None:
        return None
    return Whisker(
        *(round(axis.at(value), 2) for value in (bounds[0], row.metrics["H"].mean, bounds[1]))
    )
