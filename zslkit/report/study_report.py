"""Writes a study as a Markdown table, JSON and a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslkit.errors import ZslkitError
from zslkit.report import plots
from zslkit.report.block import Stat
from zslkit.report.study import FIGURES, Plot, Study, StudyLine
from zslkit.report.tables import markdown_text, plain, spread
from zslkit.utils.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ("variant", "runs", *FIGURES, "training")


def cells(lines: Sequence[StudyLine]) -> list[tuple[str, ...]]:
    """One row of text per line, under HEADER."""
    return [
        (
            line.variant.label,
            str(line.figures["H"].n),
            *(spread(line.figures[name], name) for name in FIGURES),
            f"{line.train_seconds.mean:.0f} s",
        )
        for line in lines
    ]


def markdown(study: Study, lines: Sequence[StudyLine], missing: Sequence[str] = ()) -> str:
    """Title, table and protocol as Markdown, and the runs that are missing."""
    rows = [" | ".join(markdown_text(cell) for cell in row) for row in [HEADER, *cells(lines)]]
    rule = "|".join(["---", *["--:"] * (len(HEADER) - 1)])
    seeds = ", ".join(map(str, study.seeds))
    how = (
        f"{markdown_text(f'{study.model} on {study.dataset}')}, seeds {seeds}; mean ± standard "
        "deviation over runs."
    )
    table = [f"| {rows[0]} |", f"|{rule}|", *(f"| {row} |" for row in rows[1:])]
    lost = [f"Runs that failed and are missing: {'; '.join(missing)}."] if missing else []
    notes = ["", *map(plain, study.notes.strip().split("\n"))] if study.notes else []
    said = [how, *(part for text in lost for part in ("", markdown_text(text))), *notes]
    return "\n".join([f"### {markdown_text(study.title)}", "", *table, "", *said, ""])


def as_data(study: Study, lines: Sequence[StudyLine]) -> dict[str, Any]:
    """The study and its metrics as plain data, with the run identities of each line."""
    return {
        "study": study.model_dump(mode="json"),
        "lines": [
            {
                "variant": line.variant.label,
                "row": line.variant.row,
                "point": dict(line.variant.point),
                "settings": dict(line.variant.settings),
                "figures": {name: asdict(stat) for name, stat in line.figures.items()},
                "train_seconds": asdict(line.train_seconds),
                "runs": list(line.identities),
            }
            for line in lines
        ],
    }


def write(
    study: Study,
    lines: Sequence[StudyLine],
    folder: Path,
    stem: str,
    missing: Sequence[str] = (),
) -> list[Path]:
    """Write stem.md, stem.json and, if the study has a plot, stem.svg; returns their paths.

    `missing` names runs that failed.

    Raises:
        ZslkitError: Writing fails.
    """
    texts = {
        ".md": markdown(study, lines, missing),
        ".json": json.dumps(
            as_data(study, lines) | {"missing": list(missing)}, indent=1, ensure_ascii=False
        ),
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in texts.items():
            write_text(folder / f"{stem}{suffix}", text)
            written.append(folder / f"{stem}{suffix}")
        if study.plot is not None and lines:
            plots.save(figure(study, lines), folder / f"{stem}.svg")
            written.append(folder / f"{stem}.svg")
    except OSError as error:
        raise ZslkitError(
            f"{folder} cannot be written ({error.strerror or error}); the runs are kept, so name "
            "another --tables"
        ) from error
    return written


def figure(study: Study, lines: Sequence[StudyLine]) -> Figure:
    """The plot that the study asks for; bars of H if it asks for none."""
    plot = study.plot or Plot()
    if plot.x is None:
        bars = [(line.variant.label, line.figures) for line in lines]
        return plots.bars(bars, title=study.title, y=plot.y)
    series: dict[str, list[tuple[Any, Stat]]] = {}
    for line in lines:
        others = [f"{k}={v}" for k, v in line.variant.point.items() if k != plot.x]
        for y in plot.y:
            parts = [line.variant.row, *others, y if len(plot.y) > 1 else ""]
            name = ", ".join(filter(None, parts))
            series.setdefault(name, []).append((line.variant.point[plot.x], line.figures[y]))
    return plots.curves(series, title=study.title, x=plot.x, y=", ".join(plot.y), scale=plot.scale)
