"""Records of downloaded archives, in `<data root>/.zslkit/downloads.json`."""

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
    """Record of an archive that was unpacked here."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")
    url: str = Field(description="where it was fetched; empty if it was put there by hand")
    date: str = Field(description="day of the first download, as 2026-01-31")
    unpacked: bool = Field(description="false while its files are moved into place")


class Records:
    """Records of one data root, by file name."""

    def __init__(self, root: Path) -> None:
        self.path = root / HOME / "downloads.json"

    def read(self) -> dict[str, Record]:
        """Read all records.

        Raises:
            DataError: Names the file that is damaged or cannot be read.
        """
        check_permitted(self.path)
        try:
            values = parse_json(read_small(self.path))
            return {str(name): Record.model_validate(entry) for name, entry in values.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, ValidationError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{self.path} cannot be read ({reason}); remove it: the next download records the "
                "digests anew, without comparing them"
            ) from error

    def write(self, name: str, record: Record) -> None:
        """Add or replace one record; the file is replaced as a whole."""
        values = {
            key: entry.model_dump() for key, entry in sorted({**self.read(), name: record}.items())
        }
        with replacing(self.path) as beside:
            beside.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
