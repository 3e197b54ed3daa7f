"""CSV files of the user's own data, as rows of text; what spreadsheets write is read or refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from zslkit.errors import DataError
from zslkit.utils.files import check_permitted, is_utf16, need_plain

LONGEST_LINE = 8 << 20
MOST_COLUMNS = 100_000
MOST_CELLS = 25_000_000
"""Limit of all cells; 20,000 classes of 1,024 numbers have 20 million."""


def read_csv(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """Rows with some text of a CSV file in UTF-8: number of the row's last line, stripped cells.

    `what` says what the file should be, for errors: "a table of class attributes".

    Raises:
        DataError: The file is not CSV, has semicolons or tabs for commas, or exceeds the limits.
    """
    check_permitted(path)
    try:
        need_plain(path)
        with path.open("rb") as raw:
            if is_utf16(raw.read(2)):
                raise DataError(f"{path} is UTF-16 text; save it as UTF-8 with commas")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline(LONGEST_LINE)
            # Spreadsheets write semicolons in countries with a decimal comma, or tabs.
            for sign, word in (";", "semicolons"), ("\t", "tabs"):
                # A comma further on may be part of a name: class;size, cm.
                if sign in re.sub('"[^"]*"', "", head).partition(",")[0]:
                    raise DataError(f"{path} has {word} between its columns; save it with commas")
            if "\0" in head:
                raise DataError(f"{path} is no plain text (UTF-16?); save it as UTF-8 with commas")
            stream.seek(0)
            return list(_rows(path, stream, what))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as CSV ({error}); save it as UTF-8 with commas"
        ) from error


def _rows(path: Path, stream: TextIO, what: str) -> Iterator[tuple[int, list[str]]]:
    # A quote after a blank is a quote still; else it would be part of the name.
    reader = csv.reader(_lines(path, stream), strict=True, skipinitialspace=True)
    cells = 0
    for row in reader:
        cells += len(row)
        if len(row) > MOST_COLUMNS or cells > MOST_CELLS:
            raise DataError(
                f"{path}, line {reader.line_num}: {what} has at most {MOST_COLUMNS:,} columns and "
                f"{MOST_CELLS:,} cells; is it another file?"
            )
        if any(cell.strip() for cell in row):
            yield reader.line_num, [cell.strip() for cell in row]


def _lines(path: Path, stream: TextIO) -> Iterator[str]:
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise DataError(
                f"{path}, line {number}: no line of a table is that long; is it a CSV file?"
            )
        yield line
