"""Comparison tables: a row per model, mean and standard deviation over seeds, and how every row was made.

Rows that differ in what decides comparability stand in blocks of their own, and the title of a block says in what.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zslkit.results.published import Published, published
from zslkit.results.record import RunRecord

if TYPE_CHECKING:
    from rich.console import Group

FIGURES = ("T1", "U", "S", "H", "AUSUC")
OTHERS = ("H uncalibrated", "H if picked on test", "parameters", "training", "peak memory", "seeds", "made by")
AS_PAPERS = "'H if picked on test' is the best epoch on the test set, as papers print it; it is no result of ours."


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (n - 1) and number of seeds; std is None for one seed."""

    mean: float
    std: float | None
    n: int

    def text(self, digits: int = 1) -> str:
        return f"{self.mean:.{digits}f}" + ("" if self.std is None else f" ± {self.std:.{digits}f}")


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Row:
    """One model under one protocol, over its seeds."""

    records: tuple[RunRecord, ...]

    @property
    def first(self) -> RunRecord:
        return self.records[0]

    def figure(self, name: str) -> Spread:
        return spread([getattr(r.metrics, name) for r in self.records])

    @property
    def badges(self) -> str:
        """How the row's figures were made: training protocol, selection, calibration and input."""
        p, f = self.first.protocol, self.first.features
        calibration = "not calibrated" if p.calibration == "none" else "gamma by validation"
        return f"{p.training}; {p.selection} epoch; {calibration}; {f.input}"

    def other(self, name: str) -> str:
        rs = self.records
        if name == "H uncalibrated":
            return spread([r.uncalibrated.H for r in rs]).text() if self.first.protocol.calibration != "none" else "-"
        if name == "H if picked on test":
            best = [r.optimistic["H"] for r in rs if r.optimistic and "H" in r.optimistic]
            return spread(best).text() if len(best) == len(rs) else "-"
        if name == "peak memory":
            peaks = [r.costs.peak_memory_mb for r in rs if r.costs.peak_memory_mb is not None]
            return f"{statistics.fmean(peaks):.0f} MB" if peaks else "-"
        told: dict[str, Callable[[], str]] = {
            "parameters": lambda: f"{self.first.costs.parameters / 1e6:.2f} M",
            "training": lambda: f"{statistics.fmean(r.costs.train_seconds for r in rs):.0f} s",
            "seeds": lambda: ",".join(str(r.seed) for r in rs),
            "made by": lambda: self.badges,
        }
        return told[name]()


@dataclass(frozen=True)
class Block:
    """Rows that may be compared, and in words what they share."""

    title: str
    rows: tuple[Row, ...]
    published: tuple[Published, ...]

    def best(self, figure: str) -> float:
        """The highest mean of a figure, rounded as it is printed, so that ties are both best."""
        return max(round(row.figure(figure).mean, _digits(figure)) for row in self.rows)

    def is_best(self, row: Row, figure: str) -> bool:
        return len(self.rows) > 1 and round(row.figure(figure).mean, _digits(figure)) == self.best(figure)


def _digits(figure: str) -> int:
    return 3 if figure == "AUSUC" else 1


def _facts(r: RunRecord) -> dict[str, str]:
    f = r.features
    size = "size unknown" if f.size is None else f"{f.size} px" if isinstance(f.size, int) else f"{f.size[0]}x{f.size[1]} px"
    return {
        "dataset": r.dataset.title or r.dataset.name,
        "split": f"split {r.fingerprints.split}",
        "semantics": f"semantics {r.fingerprints.semantics}",
        "backbone": f"{f.backbone} ({f.weights})",
        "weights": f"weights {f.weights_digest}",
        "training of the backbone": "tuned" if f.tuned else "frozen",
        "resolution": size,
    }


def blocks(records: Sequence[RunRecord]) -> list[Block]:
    """Records in comparable blocks; within a block one row for each model and way of making. Order of arrival is kept."""
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for r in records:
        groups.setdefault(tuple(_facts(r).values()), []).append(r)
    names = list(_facts(records[0]))
    differing = [name for k, name in enumerate(names) if len({key[k] for key in groups}) > 1]
    result = []
    for members in groups.values():
        facts = _facts(members[0])
        shared = [facts[n] for n in ("dataset", "backbone", "training of the backbone", "resolution")]
        title = ", ".join(shared + [facts[n] for n in differing if facts[n] not in shared])
        if differing:
            title += f" (not comparable with the other block{'s' if len(groups) > 2 else ''}: another {', '.join(differing)})"
        rows: dict[str, list[RunRecord]] = {}
        for r in members:
            rows.setdefault(
                f"{r.model.distribution}:{r.model.name}|{r.protocol.model_dump(include={'selection', 'calibration'})}", []
            ).append(r)
        beside = tuple(published(members[0].dataset.published_as)) if members[0].dataset.published_as else ()
        result.append(Block(title, tuple(Row(tuple(sorted(rs, key=lambda r: r.seed))) for rs in rows.values()), beside))
    return result


def as_json(records: Sequence[RunRecord]) -> dict[str, Any]:
    """The table as data: blocks of rows with mean, std and n of every figure, and the runs behind them."""
    return {
        "blocks": [
            {
                "title": block.title,
                "rows": [
                    {
                        "model": row.first.model.name,
                        "figures": {f: {"mean": (s := row.figure(f)).mean, "std": s.std, "n": s.n} for f in FIGURES},
                        "made_by": row.badges,
                        "seeds": [r.seed for r in row.records],
                        "runs": [r.identity for r in row.records],
                        "costs": row.first.costs.model_dump(),
                    }
                    for row in block.rows
                ],
                "chance": block.rows[0].first.chance.model_dump(),
                "published": [p.model_dump(mode="json") for p in block.published],
            }
            for block in blocks(records)
        ]
    }


def _published_cells(p: Published) -> list[str]:
    figures = [p.figures()[f] for f in ("T1", "U", "S", "H")]
    return [f"{p.method} (published)", *("-" if v is None else f"{v:.1f}" for v in figures), "-"]


def _chance_cells(block: Block) -> list[str]:
    chance = block.rows[0].first.chance
    return ["chance", *(f"{getattr(chance, f):.1f}" for f in ("T1", "U", "S", "H")), "-"]


def markdown(records: Sequence[RunRecord]) -> str:
    """The tables in Markdown, best means in bold."""
    lines: list[str] = []
    for block in blocks(records):
        lines += [f"**{block.title}**", "", "| " + " | ".join(["model", *FIGURES, *OTHERS]) + " |"]
        lines.append("|" + "---|" * (1 + len(FIGURES) + len(OTHERS)))
        for row in block.rows:
            cells = [f"**{row.figure(f).text(_digits(f))}**" if block.is_best(row, f) else row.figure(f).text(_digits(f)) for f in FIGURES]
            lines.append("| " + " | ".join([row.first.model.name, *cells, *(row.other(o) for o in OTHERS)]) + " |")
        blank = [""] * (len(OTHERS) - 1)
        lines.append("| " + " | ".join([*_chance_cells(block), *blank, "answering at random"]) + " |")
        lines += ["| " + " | ".join([*_published_cells(p), *blank, p.remarks]) + " |" for p in block.published]
        lines.append("")
    return "\n".join([*lines, AS_PAPERS])


def rich_table(records: Sequence[RunRecord]) -> Group:
    """The tables for a terminal, best means in bold, chance and published rows dimmed."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    parts: list[Table | Text] = []
    for block in blocks(records):
        table = Table(title=escape(block.title), title_justify="left")
        table.add_column("model")
        for column in (*FIGURES, *OTHERS[:-1]):
            table.add_column(column, justify="right")
        table.add_column(OTHERS[-1])
        for row in block.rows:
            cells = [Text(row.figure(f).text(_digits(f)), style="bold" if block.is_best(row, f) else "") for f in FIGURES]
            table.add_row(Text(row.first.model.name), *cells, *(row.other(o) for o in OTHERS))
        blank = [""] * (len(OTHERS) - 1)
        table.add_row(*_chance_cells(block), *blank, "answering at random", style="dim")
        for p in block.published:
            table.add_row(*(Text(c) for c in _published_cells(p)), *blank, Text(p.remarks), style="dim")
        parts.append(table)
    return Group(*parts, Text(AS_PAPERS, style="dim"))
