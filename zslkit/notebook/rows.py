"""Rows of plain data that become a pandas table where pandas is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zslkit.errors import UserError


def as_pandas(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a `pandas.DataFrame`.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UserError(
            "A table needs pandas, which is not installed; `pip install pandas`, "
            "or take `rows`, a list of dictionaries"
        ) from error
    return pandas.DataFrame(list(rows))
