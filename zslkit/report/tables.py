"""The cells of comparison tables, and the tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zslkit.report.badges import ON_TEST, Badges, badges_of_published
from zslkit.report.block import METRICS, Block, PickedOnTest, Row, Stat
from zslkit.report.columns import COST_NAMES, Layout
from zslkit.report.published import UNKNOWN, Published

DASH = "-"
ON_TEST_TITLE = "As papers do: picked on the test sets, no results"
ON_TEST_NOTE = (
    "Nothing in this table is a result: test (as papers do) takes the epoch with the best H and, "
    "for T1, that with the best T1, both on "
    "the test sets; oracle takes the gamma with the best H on them. The rows are in no ranking "
    "and in no test."
)


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        bold: Whether it is the best of its column.
        grey: Whether it is not a result of our runs.
        interval: Text after the cell's text, or below it in a narrow table.
    """

    text: str
    bold: bool = False
    grey: bool = False
    interval: str = ""


@dataclass(frozen=True)
class Grid:
    """Cells of a block, for terminal and Markdown."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def only(self, columns: Sequence[str]) -> Grid:
        """The first column, and those with these headers, in this order."""
        places = [0, *(self.header.index(name) for name in columns)]
        rows = tuple(tuple(row[i] for i in places) for row in self.rows)
        return Grid(tuple(self.header[i] for i in places), rows)


def grid(block: Block, columns: Sequence[str] | None = None) -> Grid:
    """Rows of runs, then chance, then published results.

    `columns` are headers beside that of the model; None for all that say something here.
    """
    plain_h = block.calibrated or "H, gamma 0" in (columns or ())
    metrics = ["T1", "U", "S", "H", *(["H, gamma 0"] if plain_h else []), "AUSUC"]
    header = ("model", "runs", *metrics, *COST_NAMES, "protocol")
    chance = [_figure(block.chance.get("H" if m.startswith("H") else m)) for m in metrics]
    rows = [_run_cells(row, metrics) for row in block.rows]
    rows.append(_grey("chance", "", *chance, *[""] * len(COST_NAMES), "answers at random"))
    rows += [_published_cells(entry, metrics) for entry in block.published]
    whole = Grid(header, tuple(rows))
    return whole if columns is None else whole.only(columns)


def laid_out(block: Block, layout: Layout) -> Grid:
    """The grid with the columns of a layout, for Markdown and LaTeX."""
    content = grid(block, layout.columns)
    if layout.columns is not None or layout.costs:
        return content
    return content.only([name for name in content.header[1:] if name not in COST_NAMES])


def protocols(block: Block) -> list[str]:
    """How each row was made, as notes for a table without that column."""
    content = grid(block, ["protocol"])
    places = [i for i in range(len(content.rows)) if i != len(block.rows)]  # chance has none
    return [f"{content.rows[i][0].text}: {content.rows[i][-1].text}." for i in places]


def on_test_grid(block: Block) -> Grid | None:
    """Table of the rows as selected on test, without a winner; None if there are none."""
    if not block.on_test:
        return None
    return Grid(
        ("model", "runs", *METRICS, "protocol"), tuple(_on_test_cells(row) for row in block.on_test)
    )


def on_test_notes(block: Block) -> list[str]:
    """Notes below `on_test_grid`: they are no results, and what selection on test added."""
    added = []
    for row in block.on_test or ():
        by, names = ("epoch", ("T1", "H")) if row.made.selection == ON_TEST else ("gamma", ("H",))
        if "U" not in row.added:  # the row itself is calibrated
            by = "epoch, at gamma 0,"
        figures = ", ".join(f"{name} {signed(row.added[name])}" for name in names)
        added.append(f"{row.label} by {by} {figures}")
    if not added:
        return [ON_TEST_NOTE]
    return [
        ON_TEST_NOTE,
        f"Picking on the test sets added to each row's own figures: {'; '.join(added)}.",
    ]


def remarks(block: Block) -> list[str]:
    """Notes on published rows, which Markdown has in its last column."""
    doubted = any(entry.unconfirmed for entry in block.published)
    legend = ["?: unconfirmed, for want of a public source that prints it."] if doubted else []
    return legend + [
        f"{entry.method} (published): {entry.notes}." for entry in block.published if entry.notes
    ]


def folder_notes(block: Block) -> list[str]:
    """Known run folders of each row, in the order of its seeds."""
    return [
        f"Run folders of {name}: {', '.join(row.folders)}."
        for name, row in zip(block.names, block.rows, strict=True)
        if row.folders
    ]


def markdown(blocks: Sequence[Block], layout: Layout | None = None) -> str:
    """All blocks as Markdown tables with titles and notes."""
    layout = layout or Layout()
    lines: list[str] = []
    for block in blocks:
        content = laid_out(block, layout)
        title = layout.title(block.title, len(blocks))
        lines += [f"### {markdown_text(title)}", "", *_markdown_table(content)]
        if (on_test := on_test_grid(block)) is not None:
            lines += [
                "",
                f"#### {ON_TEST_TITLE}",
                "",
                *_markdown_table(on_test),
                "",
                f"*{markdown_text(' '.join(on_test_notes(block)))}*",
            ]
        notes = layout.notes(block.title, len(blocks))
        if "protocol" not in content.header:
            notes += [*protocols(block), *remarks(block)]
        notes += [*block.notes, *folder_notes(block)]
        lines += ["", *(f"- {markdown_text(note)}" for note in notes), ""]
    return "\n".join(lines)


def _markdown_table(content: Grid) -> list[str]:
    left = {0} | {i for i, name in enumerate(content.header) if name == "protocol"}
    return [
        f"| {' | '.join(content.header)} |",
        f"|{'|'.join('---' if i in left else '--:' for i in range(len(content.header)))}|",
        *(f"| {' | '.join(_marked(cell) for cell in row)} |" for row in content.rows),
    ]


def _run_cells(row: Row, metrics: list[str]) -> tuple[Cell, ...]:
    badges = ", ".join(with_gamma(badge, row.gamma) for badge in row.badges)
    figures = {**row.metrics, "H, gamma 0": row.uncalibrated_H}
    shown = [
        Cell(spread(figures[name], name), name in row.best, interval=_interval(row, name))
        for name in metrics
    ]
    costs = [
        Cell(DASH if (stat := row.costs[name]) is None else show(stat.mean), name in row.best)
        for name, show in _COSTS.items()
    ]
    return Cell(row.marked), Cell(str(row.n)), *shown, *costs, Cell(f"{badges}, {row.input}")


def _on_test_cells(row: PickedOnTest) -> tuple[Cell, ...]:
    shown = [
        DASH if (stat := row.metrics[name]) is None else spread(stat, name) for name in METRICS
    ]
    words = [
        badge if row.gamma is None else with_gamma(badge, row.gamma) for badge in row.made.words
    ]
    made = ", ".join(filter(None, [*words, row.made.input]))
    return _grey(row.label, str(row.n), *shown, made)


def _interval(row: Row, metric: str) -> str:
    """Interval of H in brackets; the others are in JSON and CSV, to keep tables narrow."""
    bounds = row.intervals.get(metric) if metric == "H" else None
    return f"[{bounds[0]:.1f}, {bounds[1]:.1f}]" if bounds else ""


def how_published(entry: Published) -> str:
    """Badges of a published row, its unknown ones, and the source of the labels."""
    made: Badges = badges_of_published(entry)
    apart = ("note", "input", "trained", "backbone")
    shown = [mark.text for mark in made.marks() if mark.kind not in apart]
    shown.append(f"{made.backbone}{'?' if 'backbone' in entry.unconfirmed else ''} {made.trained}")
    unknown = f"{UNKNOWN}: {', '.join(made.unknown)}" if made.unknown else ""
    program = f"labels of {entry.program}" if entry.program else ""
    return "; ".join(filter(None, (", ".join(shown), unknown, program)))


def _published_cells(entry: Published, metrics: list[str]) -> tuple[Cell, ...]:
    def shown(name: str) -> str:
        return _figure(entry.figures().get(name)) + ("?" if name in entry.unconfirmed else "")

    remarks = "; ".join(filter(None, ("published", how_published(entry), entry.remarks)))
    figures, costs = map(shown, metrics), [""] * len(COST_NAMES)
    return _grey(f"{entry.method}, {entry.input}", "", *figures, *costs, remarks)


def _grey(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text, grey=True) for text in texts)


def with_gamma(badge: str, gamma: Stat) -> str:
    """Badge text with the mean gamma, for badges on gamma."""
    return f"{badge} ({spread(gamma, 'gamma')})" if badge.startswith("gamma") else badge


def spread(stat: Stat, metric: str) -> str:
    """Mean and standard deviation, with the digits of the metric: '50.3 ± 0.2'."""
    digits = {"AUSUC": 3, "gamma": 2}.get(metric, 1)
    around = "" if stat.std is None else f" ± {stat.std:.{digits}f}"
    return f"{stat.mean:.{digits}f}{around}"


def signed(points: float, digits: int = 1) -> str:
    """Difference with its sign; zero after rounding is +0.0."""
    return f"{round(points, digits) + 0.0:+.{digits}f}"


def _figure(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def _count(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}"


def seconds_words(value: float) -> str:
    """Duration as in tables: '3.1 s', '4 min 05 s', '2 h 07 min'."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _megabytes(value: float) -> str:
    return f"{value:.0f} MB" if value < 10_000 else f"{value / 1000:.1f} GB"


_COSTS: dict[str, Callable[[float], str]] = {
    "parameters": _count,
    "train_seconds": seconds_words,
    "peak_memory_mb": _megabytes,
}


def plain(text: str) -> str:
    """Text without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)


def markdown_text(text: str) -> str:
    """Text escaped for a cell of a Markdown table."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _marked(cell: Cell) -> str:
    text = markdown_text(cell.text)
    if cell.interval:
        return f"**{text}** {cell.interval}" if cell.bold else f"{text} {cell.interval}"
    return f"**{text}**" if cell.bold else f"*{text}*" if cell.grey and text else text
