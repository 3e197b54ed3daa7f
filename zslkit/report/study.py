"""Studies: grids of settings of one model in a YAML file, and metrics per variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from zslkit.config import Config, build
from zslkit.config.merge import Layer, merge, nested, read_yaml
from zslkit.config.scalars import number
from zslkit.errors import UserError
from zslkit.record import RunRecord
from zslkit.report.block import Stat
from zslkit.utils.seeds import MOST_SEED

FIGURES = ("T1", "U", "S", "H", "AUSUC")


class Plot(Config):
    """How to draw the metrics of a study."""

    x: str | None = Field(
        None,
        description="key of the grid on the horizontal axis; without one, a bar for each variant",
    )
    y: list[Literal["T1", "U", "S", "H", "AUSUC"]] = Field(["H"], min_length=1)
    scale: Literal["linear", "log", "symlog"] = "linear"


class Study(Config):
    """Content of a study file. Variants are all combinations of rows and grid points."""

    title: str
    model: str
    dataset: str = "digits"
    preset: str | None = None
    seeds: list[Annotated[int, Field(ge=0, le=MOST_SEED)]] = Field([0], min_length=1)
    settings: dict[str, Any] = Field({}, description="settings of all variants, nested or dotted")
    rows: dict[str, dict[str, Any]] = Field({}, description="name of a variant -> its settings")
    grid: dict[str, list[Any]] = Field({}, description="dotted key -> its values")
    plot: Plot | None = None
    notes: str = ""


@dataclass(frozen=True)
class Variant:
    """One variant of a study.

    Attributes:
        row: Name of its row, "" without rows.
        point: Its point in the grid.
    """

    row: str
    point: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        values = {k: f"{v:g}" if isinstance(v, float) else v for k, v in self.point.items()}
        point = [f"{key}={value}" for key, value in values.items()]
        return ", ".join(filter(None, [self.row, *point])) or "as preset"


@dataclass(frozen=True)
class StudyLine:
    """Metrics of a variant over its finished runs."""

    variant: Variant
    figures: Mapping[str, Stat]
    train_seconds: Stat
    identities: tuple[str, ...]


def read_study(source: str | Path | Mapping[str, Any]) -> Study:
    """Read a study, from its file or from a dictionary with the same keys.

    Raises:
        UserError: A key is missing, unknown or wrong; the message names it.
    """
    if isinstance(source, Mapping):
        path, layer = "study", Layer(source, "study")
    else:
        path, layer = str(source), read_yaml(source)
    study = build(Study, merge([layer]), path)
    if empty := [key for key, values in study.grid.items() if not values]:
        raise UserError(f"{path}: grid: {empty[0]} has no values; list some")
    if study.plot and study.plot.x is not None and study.plot.x not in study.grid:
        raise UserError(
            f"{path}: plot.x = {study.plot.x!r} is no key of the grid "
            f"({', '.join(study.grid) or 'there is none'}); name one"
        )
    return study


def variants(study: Study, changes: Mapping[str, Any] | None = None) -> list[Variant]:
    """All variants, in the order of the file; rows and grid override the caller's `changes`."""
    given = Layer(changes or {}, "option")
    base = merge([Layer(nested(study.settings), "study"), given]).values
    found = []
    for row, own in (study.rows or {"": {}}).items():
        for values in product(*study.grid.values()):
            point = dict(zip(study.grid, values, strict=True))
            layers = [Layer(base, "study"), Layer(nested(own), "row"), Layer(nested(point), "grid")]
            numbers = {key: number(value) for key, value in point.items()}
            found.append(Variant(row, numbers, merge(layers).values))
    return found


def line(variant: Variant, records: Sequence[RunRecord]) -> StudyLine:
    """Means and standard deviations of the finished runs of a variant."""
    figures = {name: Stat.of([getattr(r.metrics, name) for r in records]) for name in FIGURES}
    seconds = Stat.of([r.costs.train_seconds for r in records])
    return StudyLine(variant, figures, seconds, tuple(r.identity for r in records))
