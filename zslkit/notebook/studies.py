"""`zslkit.study`: every variant of a study, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslkit.config.merge import GivenSettings, parse_given
from zslkit.notebook.many import Failure, as_pandas, failures_of, results_of, run_each, seeds_of
from zslkit.record import RunRecord
from zslkit.report import study_report
from zslkit.report.study import Study, StudyLine, line, read_study, variants
from zslkit.runs.result import Result
from zslkit.utils.progress import Reporter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class StudyResult:
    """Figures of each variant. `print` shows the table of `zslkit study`.

    Attributes:
        plan: The study.
        lines: Figures of each variant that has a run.
        results: The runs.
        failures: Runs that could not be made, and why.
        missing: Variant and seed of each of these.
    """

    plan: Study
    lines: tuple[StudyLine, ...]
    results: tuple[Result, ...]
    failures: tuple[Failure, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each variant: its point in the grid, and mean and deviation of each figure."""
        return [_row(line) for line in self.lines]

    def to_pandas(self) -> Any:
        """`rows` as a `pandas.DataFrame`.

        Raises:
            UserError: pandas is not installed.
        """
        return as_pandas(self.rows)

    def figure(self) -> Figure:
        """The plot that the study asks for; bars of H if it asks for none."""
        return study_report.figure(self.plan, self.lines)

    def markdown(self) -> str:
        """Title, table and protocol as Markdown."""
        return study_report.markdown(self.plan, self.lines, self.missing)

    def write(self, folder: str | Path, name: str = "study") -> list[Path]:
        """Write name.md, name.json and, if the study has a plot, name.svg; returns their paths.

        Raises:
            ZslkitError: Writing fails.
        """
        return study_report.write(self.plan, self.lines, Path(folder), name, self.missing)

    def __str__(self) -> str:
        return self.markdown()

    def _repr_markdown_(self) -> str:
        return self.markdown()


def _row(line: StudyLine) -> dict[str, Any]:
    figures = {
        key: value
        for name, stat in line.figures.items()
        for key, value in ((name, stat.mean), (f"{name}_std", stat.std))
    }
    return {
        "variant": line.variant.label,
        **line.variant.point,
        "runs": len(line.identities),
        **figures,
        "train_seconds": line.train_seconds.mean,
    }


def study(
    plan: str | Path | Mapping[str, Any],
    *,
    dataset: str | Path | None = None,
    seeds: Sequence[int] | int | None = None,
    settings: GivenSettings = (),
    reporter: Reporter | None = None,
    **options: Any,
) -> StudyResult:
    """Run every variant of a study with each seed, as `zslkit study`. Finished runs are reused.

    Args:
        plan: The study file, or a dictionary with its keys.
        dataset: Another dataset than the study's.
        seeds: Other seeds than the study's.
        settings: Settings of all variants, as of `run`; rows and grid win over them.
        reporter: Receives progress and notes; None prints nothing.
        options: Further arguments of `run`, such as data_root, out and device.

    Raises:
        UserError: A key of the study, a name or a setting is wrong.
        Exception: No run could be made; the first reason.
    """
    read = read_study(plan)
    changes = {
        "dataset": None if dataset is None else str(dataset),
        "seeds": None if seeds is None else seeds_of(seeds),
    }
    read = read.model_copy(update={key: value for key, value in changes.items() if value})
    chosen = variants(read, parse_given(settings).values)
    shared = {"model": read.model, "dataset": read.dataset, "preset": read.preset}
    outcomes = run_each(
        [
            {**shared, **options, "seed": seed, "overrides": variant.settings, "reporter": reporter}
            for variant, seed in product(chosen, read.seeds)
        ]
    )
    records: list[list[RunRecord]] = [[] for _ in chosen]
    missing: list[str] = []
    for place, one in enumerate(outcomes):
        variant, seed = divmod(place, len(read.seeds))
        if isinstance(one, Result):
            records[variant].append(one.record)
        else:
            missing.append(f"{chosen[variant].label}, seed {read.seeds[seed]}")
    lines = [line(variant, own) for variant, own in zip(chosen, records, strict=True) if own]
    return StudyResult(
        read, tuple(lines), results_of(outcomes), failures_of(outcomes), tuple(missing)
    )
