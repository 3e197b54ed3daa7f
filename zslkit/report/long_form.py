"""Figures of runs in long form: a row for each run and metric, for pandas, R or a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from zslkit.errors import UserError
from zslkit.report import export
from zslkit.report.badges import badges_of
from zslkit.runs.folders import Run
from zslkit.utils.files import replacing

COLUMNS: Final = ("run", "model", "dataset", "seed", "metric", "value", "protocol", "finished")
"""Columns of a row. `protocol` says how the figure was made."""
COSTS: Final = ("parameters", "train_seconds", "extract_seconds", "eval_seconds", "peak_memory_mb")


def long_form(runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
    """A row for each figure of each run.

    Metrics are T1, U, S and H in percent and AUSUC from 0 to 1; with "_gamma_0" the same without
    calibration; gamma; and costs. Figures that picking on test images would give are not among
    them.
    """
    for run in runs:
        record = run.record
        shared = {
            "run": str(run.folder),
            "model": record.model.name,
            "dataset": record.dataset.name,
            "seed": record.seed,
        }
        made = {"protocol": ", ".join(badges_of(record).words), "finished": record.finished}
        plain = record.uncalibrated.model_dump(exclude={"T1", "AUSUC"})  # gamma changes neither
        figures = {
            **record.metrics.model_dump(),
            **{f"{name}_gamma_0": value for name, value in plain.items()},
            "gamma": record.protocol.gamma,
            **record.costs.model_dump(include=set(COSTS)),
        }
        for metric, value in figures.items():
            if value is not None:
                yield {**shared, "metric": metric, "value": float(value), **made}


write_csv = partial(export.write_csv, columns=COLUMNS)
"""Write the rows to a stream, as CSV with a header."""


def write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the rows as a Parquet file, which appears when it is whole.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "Parquet needs pyarrow, which is not installed; install it with: "
            "pip install 'zslkit[pandas]', or take --format csv"
        ) from error
    types = {"seed": pyarrow.int64(), "value": pyarrow.float64()}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in COLUMNS])
    with replacing(path) as beside:
        parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), beside)
