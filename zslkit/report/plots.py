"""Plots of studies, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zslkit.report.block import Stat
from zslkit.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(
    series: Mapping[str, Sequence[tuple[Any, Stat]]],
    *,
    title: str,
    x: str,
    y: str,
    scale: Literal["linear", "log", "symlog"] = "linear",
) -> Figure:
    """Mean against x with standard deviations as bars, one line per series.

    Points are drawn in their order; x values that are not numbers are placed side by side.
    """
    figure, axes = _figure(title)
    numbers = all(
        isinstance(at, int | float) and not isinstance(at, bool)
        for points in series.values()
        for at, _ in points
    )
    names = list(dict.fromkeys(str(at) for points in series.values() for at, _ in points))
    for name, points in series.items():
        places = [at if numbers else names.index(str(at)) for at, _ in points]
        means = [stat.mean for _, stat in points]
        spread = [stat.std or 0.0 for _, stat in points]
        axes.errorbar(places, means, yerr=spread, marker="o", capsize=3, label=name)
    if numbers:
        positive = sorted({abs(at) for points in series.values() for at, _ in points if at})
        axes.set_xscale(
            scale, **({"linthresh": positive[0]} if scale == "symlog" and positive else {})
        )
    else:
        axes.set_xticks(range(len(names)), names)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(series) > 1:
        axes.legend()
    return figure


def bars(
    lines: Sequence[tuple[str, Mapping[str, Stat]]], *, title: str, y: Sequence[str]
) -> Figure:
    """Groups of horizontal bars with standard deviations: a group per line, a bar per `y`."""
    figure, axes = _figure(title, height=1.0 + 0.28 * len(lines) * len(y))
    width = 0.8 / len(y)
    for k, name in enumerate(y):
        places = [i + k * width for i in range(len(lines))]
        means = [figures[name].mean for _, figures in lines]
        spreads = [figures[name].std or 0.0 for _, figures in lines]
        axes.barh(places, means, height=width * 0.9, xerr=spreads, capsize=2, label=name)
    axes.set_yticks(
        [i + width * (len(y) - 1) / 2 for i in range(len(lines))], [label for label, _ in lines]
    )
    axes.invert_yaxis()
    axes.set_xlabel(", ".join(y))
    if len(y) > 1:
        axes.legend()
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the suffix of `path`."""
    form = path.suffix.removeprefix(".")
    with replacing(path) as beside:
        figure.savefig(
            beside, dpi=150, format=form, metadata={"Date": None} if form == "svg" else None
        )


def _figure(title: str, height: float = 3.6) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, max(height, 2.4)), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    return figure, axes
