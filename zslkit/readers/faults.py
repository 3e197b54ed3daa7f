"""The faults of one file, told together: who mends a file wants to know all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zslkit.errors import DataError


class Faults:
    """Collects what is wrong with the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A block whose DataError is kept for later instead of raised."""
        try:
            yield
        except DataError as error:
            if str(error) not in self.found:
                self.found.append(str(error))

    def add(self, fault: str) -> None:
        """Keep a fault that was found without an error."""
        self.found.append(fault)

    def tell(self, more: str = "") -> None:
        """Raises DataError with all faults, if there are any. more: what is said after them."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise DataError(self.found[0] + more)
        rest = [
            fault.removeprefix(f"{self.path}: ").removeprefix(f"{self.path} ")
            for fault in self.found
        ]
        listed = "; ".join(f"({k}) {fault}" for k, fault in enumerate(rest, 1))
        raise DataError(f"{self.path} has {len(rest)} faults: {listed}{more}")
