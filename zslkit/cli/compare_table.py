"""Prints the table of `zslkit compare` in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli.failure import tell
from zslkit.cli.output import echo, print_json, print_table

if TYPE_CHECKING:
    from zslkit.report.columns import Layout
    from zslkit.runs.api import Result
    from zslkit.runs.folders import Run

FORMATS = {
    "table": "aligned columns",
    "markdown": "a Markdown table",
    "latex": "a LaTeX table",
    "csv": "a line for each row and run",
    "json": "the same as --json",
}
LAID_OUT = ("table", "markdown", "latex")
"""Formats with columns to choose and a caption; CSV and JSON hold everything."""


@dataclass(frozen=True)
class Shown:
    """What the tables show.

    Attributes:
        form: One of FORMATS.
        as_papers_do: Also what picking on test would give.
        strict: Separate inductive from class-inductive rows.
        layout: Columns and caption.
    """

    form: str
    as_papers_do: bool
    strict: bool
    layout: Layout


def format_of(form: str | None, markdown: bool, as_json: bool) -> str:
    """The one format that was asked for; UsageError for two."""
    forms = [form, "markdown" if markdown else None, "json" if as_json else None]
    asked = list(dict.fromkeys(name for name in forms if name))
    if len(asked) > 1:
        raise click.UsageError(
            f"{' and '.join(asked)} exclude each other: "
            "choose one --format (--json and --markdown are short forms)"
        )
    return asked[0] if asked else "table"


def layout_of(form: str, columns: tuple[str, ...] | None, caption: str) -> Layout:
    """The layout of a table.

    Raises:
        UsageError: The format has no room for it.
        UnknownName: There is no such column.
    """
    from zslkit.report.columns import Layout, headers

    if form not in LAID_OUT and (columns is not None or caption):
        option = "--columns" if columns is not None else "--caption"
        raise click.UsageError(
            f"{option} goes with --format {', '.join(LAID_OUT)}; {form} holds everything"
        )
    return Layout(None if columns is None else headers(columns), caption, costs=False)


def print_comparison(
    results: Sequence[Result | Run],
    shown: Shown,
    failed: Sequence[Mapping[str, object]] = (),
    missing: Sequence[tuple[str, int]] = (),
) -> int:
    """Print the table of these runs, without those whose scores contradict their record.

    Args:
        results: The runs.
        shown: What the table shows.
        failed: Runs that failed, for JSON.
        missing: Model and seed of runs that are not there, for JSON.

    Returns:
        Exit code: 2 if a run is left out, else 0.

    Raises:
        Contradiction: All of them would be left out.
    """
    from zslkit.record import json_summary
    from zslkit.report.as_data import as_json
    from zslkit.report.blocks import blocks_of

    refused: dict[Path, str] = {}
    blocks = blocks_of(results, shown.as_papers_do, shown.strict, refused.__setitem__)
    if shown.form == "json":
        runs = [json_summary(r.record, r.folder) for r in results if r.folder not in refused]
        failed = [
            *failed,
            *(_refusal(r, refused[r.folder]) for r in results if r.folder in refused),
        ]
        lacking = [{"model": model, "seed": seed} for model, seed in missing]
        print_json(
            {"blocks": as_json(blocks), "runs": runs, "failures": list(failed), "missing": lacking}
        )
    elif blocks:
        _print(blocks, shown)
    for reason in refused.values():
        tell(f"Left out: {reason}")
    return 2 if refused else 0


def _refusal(run: Result | Run, reason: str) -> dict[str, object]:
    return {"model": run.record.model.name, "seed": run.record.seed, "reason": reason}


def _print(blocks: Sequence[Any], shown: Shown) -> None:
    from zslkit.report import export, tables, terminal

    if shown.form == "table":
        print_table(terminal.rich_table(blocks, shown.layout))
    elif shown.form == "csv":
        echo(export.as_csv(blocks).rstrip("\n"))
        for note in (note for block in blocks for note in block.notes):  # CSV has no room for them
            tell(note)
    else:
        write = {"markdown": tables.markdown, "latex": export.latex}[shown.form]
        echo(write(blocks, shown.layout).rstrip("\n"))
