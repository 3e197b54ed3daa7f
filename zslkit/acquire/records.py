"""What is known of downloaded archives: `<data root>/.zslkit/downloads.json`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from zslkit.config import Config
from zslkit.errors import DataError
from zslkit.utils.files import check_permitted, parse_json, read_small, replacing

HOME = ".zslkit"
"""Folder of zslkit's own files in a data root."""


class Record(Config):
    """One archive that was unpacked here once."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")
    url: str = Field(description="where it was fetched; empty if it was put there by hand")
    date: str = Field(description="day of the first download, as 2026-01-31")
    unpacked: bool = Field(description="false while its files are moved into place")


class Records:
    """The records of one data root by file name. A file of records is replaced whole."""

    def __init__(self, root: Path) -> None:
        self.path = root / HOME / "downloads.json"

    def read(self) -> dict[str, Record]:
        """Raises DataError that names the file if it cannot be read or is damaged."""
        check_permitted(self.path)
        try:
            values = parse_json(read_small(self.path))
            return {str(name): Record.model_validate(said) for name, said in values.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, ValidationError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{self.path} cannot be read ({reason}); remove it: the next download records the digests anew, without comparing them"
            ) from error

    def write(self, name: str, record: Record) -> None:
        values = {
            key: said.model_dump() for key, said in sorted({**self.read(), name: record}.items())
        }
        with replacing(self.path) as beside:
            beside.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
