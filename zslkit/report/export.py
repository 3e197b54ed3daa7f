"""Exports comparisons to LaTeX (booktabs) and CSV, with the run folders of every number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from zslkit.report.badges import Badges, badges_of_published
from zslkit.report.block import COSTS, MARK, METRICS, Block, PickedOnTest, Row, Stat
from zslkit.report.columns import Layout
from zslkit.report.tables import (
    ON_TEST_TITLE,
    Cell,
    Grid,
    laid_out,
    on_test_grid,
    on_test_notes,
    plain,
    protocols,
    remarks,
)

SETTING = ("dataset", "split", "semantics", "backbone", "source", "tuned", "resolution", "images")
BETWEEN = "|"
"""Separator of several values in one CSV cell: seeds, badges, folders."""


def latex(blocks: Sequence[Block], layout: Layout | None = None) -> str:
    r"""One table per block with its notes, and one for rows selected on test.

    Needs \\usepackage{booktabs}. The best values are bold; rows that are not our runs are in
    italics. Comments contain the run folders. How each row was made stands below the table, since
    it is too long for a column.
    """
    layout = layout or Layout()
    return "\n".join(
        line for block in blocks for line in [*_latex_block(block, layout, len(blocks)), ""]
    )


def _latex_block(block: Block, layout: Layout, blocks: int) -> Iterator[str]:
    content, title = laid_out(block, layout), layout.title(block.title, blocks)
    folders = list(zip(block.names, (row.folders for row in block.rows), strict=True))
    notes = [*layout.notes(block.title, blocks), *protocols(block), *block.notes, *remarks(block)]
    yield from _latex_table(title, content, len(block.rows), folders, notes)
    if (on_test := on_test_grid(block)) is not None:
        yield ""
        made = [f"{cells[0].text}: {cells[-1].text}." for cells in on_test.rows]
        title, notes = f"{title}. {ON_TEST_TITLE}", [*made, *on_test_notes(block)]
        yield from _latex_table(title, on_test, len(on_test.rows), folders, notes)


def _latex_table(
    title: str,
    content: Grid,
    rule: int,
    folders: Sequence[tuple[str, Sequence[str]]],
    notes: Sequence[str],
) -> Iterator[str]:
    """Lines of one table; `rule` is the number of rows above the line below our runs."""
    content = content.only([name for name in content.header[1:] if name != "protocol"])
    yield "% needs \\usepackage{booktabs}"
    for label, places in folders:
        yield f"% {plain(label)}: {' '.join(map(plain, places)) or 'run folders unknown'}"
    yield from (r"\begin{table}", r"\centering", rf"\caption{{{escaped(title)}}}")
    yield rf"\begin{{tabular}}{{l{'r' * (len(content.header) - 1)}}}"
    yield r"\toprule"
    yield f"{' & '.join(map(escaped, content.header))} \\\\"
    yield r"\midrule"
    for i, cells in enumerate(content.rows):
        if i == rule:
            yield r"\midrule"
        yield f"{' & '.join(map(_latex_cell, cells))} \\\\"
    yield from (r"\bottomrule", r"\end{tabular}", "", r"\footnotesize")
    yield from (f"{escaped(note)}\\par" for note in notes)
    yield r"\end{table}"


def _latex_cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if cell.bold:
        marked = rf"\textbf{{{text}}}"
    else:
        marked = rf"\textit{{{text}}}" if cell.grey and text else text
    return f"{marked} {{\\scriptsize {escaped(cell.interval)}}}" if cell.interval else marked


_SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    MARK: r"$^\dagger$",
    # LaTeX reads a bracket at the start of a table row as an argument of the \\ before it.
    "[": "{[}",
    "]": "{]}",
}


def escaped(text: str) -> str:
    """Text escaped for LaTeX."""
    return "".join(_SPECIAL.get(c, c) for c in plain(text))


def rows(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """A dictionary for each row, unrounded, with the columns of HEADER; unknown ones are absent.

    Rows are runs, chance, rows selected on test, and published rows; `kind` tells them apart.
    """
    return [
        {**{name: getattr(block.setting, name) for name in SETTING}, **row}
        for block in blocks
        for row in _csv_rows(block)
    ]


MADE = ("training", "selection", "calibration")
"""Columns for protocol, selection and calibration; `protocol` contains all badge texts."""
HEADER = (
    *SETTING,
    *("kind", "model", "variant", "changed", "origin", "input", "runs", "seeds", "protocol", *MADE),
    *(
        f"{name}{part}"
        for name in METRICS
        for part in ("", "_std", *(("_low", "_high") if name != "AUSUC" else ()))
    ),
    *("H_gamma_0", "H_gamma_0_std", "gamma", "gamma_std", *COSTS, "best", "folders"),
)


def as_csv(blocks: Sequence[Block]) -> str:
    """One unrounded line per row: runs, chance, rows selected on test, published rows.

    The column `kind` tells them apart; `changed` has the settings other than those of preset and
    default. _std: over seeds. _low, _high: 95 % interval over draws of
    the test images. Empty cells are unknown.
    """
    text = io.StringIO()
    write_csv(rows(blocks), text, HEADER)
    return text.getvalue()


def write_csv(rows: Iterable[dict[str, Any]], stream: TextIO, columns: Sequence[str]) -> None:
    """Write the rows as CSV with a header."""
    table = csv.DictWriter(stream, columns, lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({name: spreadsheet_safe(value) for name, value in row.items()})


def _csv_rows(block: Block) -> Iterator[dict[str, Any]]:
    for row in block.rows:
        yield {"kind": "runs", **_own(row)}
    yield {"kind": "chance", "model": "chance", **block.chance}
    for picked in block.on_test or ():
        yield {"kind": "as papers do, no result", **_on_test(picked)}
    for entry in block.published:
        known = {name: value for name, value in entry.figures().items() if name in METRICS}
        made = badges_of_published(entry)
        # Published rows have their own backbone, not that of the block.
        where = dict.fromkeys(("split", "images", "semantics", "source"))
        yield {
            "kind": "published",
            "model": entry.method,
            "input": entry.input,
            **where,
            "backbone": made.backbone,
            "tuned": entry.tuned,
            "resolution": made.resolution,
            "protocol": entry.remarks,
            **_made(made),
            **known,
        }


def _made(made: Badges) -> dict[str, str | None]:
    return dict(zip(MADE, (made.protocol, made.selection, made.calibration), strict=True))


def _on_test(row: PickedOnTest) -> dict[str, Any]:
    return {
        "model": row.label,
        "input": row.made.input,
        "runs": row.n,
        "seeds": _joined(row.seeds),
        "protocol": _joined(row.made.words),
        **_made(row.made),
        **_means({**row.metrics, "gamma": row.gamma}),
        "folders": _joined(row.folders),
    }


def _own(row: Row) -> dict[str, Any]:
    stats = {**row.metrics, "H_gamma_0": row.uncalibrated_H, "gamma": row.gamma}
    bounds = {
        f"{name}_{side}": value
        for name, pair in row.intervals.items()
        for side, value in zip(("low", "high"), pair, strict=True)
    }
    return {
        "model": row.model,
        "variant": row.variant,
        "changed": _joined(f"{key}={value}" for key, (value, _) in row.changed.items()),
        "origin": row.origin,
        "input": row.input,
        "runs": row.n,
        "seeds": _joined(row.seeds),
        "protocol": _joined(row.badges),
        **_made(row.made),
        **_means(stats),
        **bounds,
        **{name: stat.mean if stat is not None else None for name, stat in row.costs.items()},
        "best": _joined(sorted(row.best)),
        "folders": _joined(row.folders),
    }


def _means(stats: Mapping[str, Stat | None]) -> dict[str, float | None]:
    known = {name: stat for name, stat in stats.items() if stat is not None}
    return {
        key: value
        for name, stat in known.items()
        for key, value in ((name, stat.mean), (f"{name}_std", stat.std))
    }


def _joined(values: Iterable[object]) -> str:
    return BETWEEN.join(map(str, values))


def spreadsheet_safe(value: Any) -> Any:
    """Quote text that a spreadsheet would execute as a formula, since names are untrusted."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@"))
    return f"'{value}" if formula else value
