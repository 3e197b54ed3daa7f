"""`zslkit.compare`: several models and seeds in one table, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslkit.config.merge import GivenSettings, Layer, merge, nested
from zslkit.errors import DataError, UserError
from zslkit.notebook.many import Failure, as_pandas, failures_of, results_of, run_each, seeds_of
from zslkit.report import export, tables, terminal
from zslkit.report.block import METRICS, Block
from zslkit.report.blocks import blocks_of
from zslkit.report.columns import Layout, headers
from zslkit.report.sampling import RowPair
from zslkit.runs.named import looks_like_place, runs_at
from zslkit.runs.result import Result
from zslkit.utils.progress import Reporter

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Comparison:
    """Finished runs side by side. `print` shows the table of `zslkit compare`.

    Attributes:
        results: The runs.
        blocks: Rows that may be compared, block by block.
        failures: Runs that could not be made, or whose record its scores contradict, and why.
    """

    results: tuple[Result, ...]
    blocks: tuple[Block, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each model, variant and protocol, unrounded, with chance and published rows.

        `kind` tells them apart: "runs", "chance", "published". `T1`, `U`, `S`, `H` (percent) and
        `AUSUC` (0 to 1) are means over seeds, `_std` their standard deviations, `_low` and `_high`
        the 95 % interval over draws of the test images.
        """
        return export.rows(self.blocks)

    @property
    def differences(self) -> list[dict[str, Any]]:
        """A row for each pair of models: the difference of H, its interval, and Holm's p-value."""
        sampled = [(block, block.sampling) for block in self.blocks if block.sampling is not None]
        return [_difference(pair, block) for block, found in sampled for pair in found.pairs]

    @property
    def notes(self) -> tuple[str, ...]:
        """The sentences below the tables."""
        return tuple(note for block in self.blocks for note in block.notes)

    def to_pandas(self) -> Any:
        """`rows` as a `pandas.DataFrame`, model and metrics first, without empty columns.

        Raises:
            UserError: pandas is not installed.
        """
        rows = self.rows
        columns = dict.fromkeys([*_FIRST, *(key for row in rows for key in row)])
        table = as_pandas([{name: row.get(name) for name in columns} for row in rows])
        return table.dropna(axis="columns", how="all").astype({"runs": "Int64"})

    def markdown(self, columns: Sequence[str] | None = None, caption: str = "") -> str:
        """The tables as Markdown; `columns` and `caption` as of `zslkit compare`.

        Raises:
            UnknownName: There is no such column.
        """
        return tables.markdown(self.blocks, _layout(columns, caption))

    def latex(self, columns: Sequence[str] | None = None, caption: str = "") -> str:
        """The tables as LaTeX (booktabs); arguments and errors as of `markdown`."""
        return export.latex(self.blocks, _layout(columns, caption))

    def csv(self) -> str:
        """The rows as CSV."""
        return export.as_csv(self.blocks)

    def __str__(self) -> str:
        return _text(terminal.rich_table(self.blocks))

    def _repr_markdown_(self) -> str:
        return self.markdown()


_FIRST = ("kind", "model", "variant", "runs", *METRICS)


def _difference(pair: RowPair, block: Block) -> dict[str, Any]:
    return {
        "a": block.names[pair.a],
        "b": block.names[pair.b],
        "seeds": list(pair.seeds),
        "difference": pair.difference,
        "low": pair.low,
        "high": pair.high,
        "p_holm": pair.p_holm,
        "significant": pair.significant,
    }


def _layout(columns: Sequence[str] | None, caption: str) -> Layout:
    return Layout(None if columns is None else headers(columns), caption, costs=False)


def _text(table: RenderableType, width: int = 100) -> str:
    from rich.console import Console

    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip()


def compare(
    models: str | Path | Result | Sequence[str | Path | Result],
    dataset: str | Path = "digits",
    *,
    seeds: Sequence[int] | int = (0,),
    end_to_end: bool = False,
    strict: bool = False,
    as_papers_do: bool = False,
    settings: GivenSettings = (),
    overrides: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> Comparison:
    """Put several models in one table, as `zslkit compare`. Finished runs are reused.

    All models get features of one frozen backbone where they can.

    Args:
        models: Names of registered models. Finished runs (a `Result`, or the path of a run folder)
            stand in the table as they are; a folder of runs and a pattern stand for all of them.
        dataset: Name of a registered dataset, or path of a dataset card.
        seeds: Seeds of the runs of each named model.
        end_to_end: Give each model the input that it prefers, instead of the frozen backbone.
        strict: Separate inductive from class-inductive models.
        as_papers_do: Show what selection on the test sets would print, in a table of its own.
        settings: Settings of all models, as of `run`. A key MODEL:KEY is for one model alone; a
            setting that a model lacks is left out if another one has it.
        overrides: Settings that win over all others, as of `run`.
        reporter: Receives progress and notes; None prints nothing.
        options: Further arguments of `run`, such as data_root, out, device and again.

    Raises:
        UserError: A name or a setting is wrong.
        Exception: No run could be made; the first reason.
    """
    wanted = [models] if isinstance(models, (str, Path, Result)) else list(models)
    if not wanted:
        raise UserError("compare takes at least one model, such as compare(['eszsl', 'ridge'])")
    feed = {} if end_to_end else {"features": {"input": "frozen"}}
    winning = merge([Layer(feed, "compare"), Layer(nested(overrides or {}), "option")]).values
    names = [one for one in wanted if isinstance(one, str) and not looks_like_place(one)]
    common = {"settings": settings, "overrides": winning, "table": tuple(names)}
    results: list[Result] = []
    for one in wanted:
        if isinstance(one, Result):
            results.append(one)
        elif one not in names:
            root = Path(options.get("data_root", "data"))
            for run in runs_at(str(one), lambda sentence: None):
                results.append(Result(run.record, run.folder, reused=True, data_root=root))
    jobs = [
        {"model": name, "dataset": dataset, "seed": seed, "reporter": reporter, **common, **options}
        for name in names
        for seed in seeds_of(seeds)
    ]
    outcomes = run_each(jobs)
    results += results_of(outcomes)
    refused: dict[Path, str] = {}
    blocks = blocks_of(results, as_papers_do, strict, refused.__setitem__)
    failures = list(failures_of(outcomes))
    for one in results:
        if why := refused.get(one.folder):
            failures.append(Failure(one.record.model.name, one.record.seed, DataError(why)))
    kept = tuple(one for one in results if one.folder not in refused)
    return Comparison(kept, tuple(blocks), tuple(failures))
