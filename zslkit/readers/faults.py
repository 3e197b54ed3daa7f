"""Errors of files as sentences, and all faults of one file in one error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zslkit.errors import CannotWrite, DataError
from zslkit.utils.files import permitted, why


@contextmanager
def reading(
    path: Path, what: str = "", check: str = "the path and its permissions"
) -> Iterator[None]:
    """Turn errors of the system in the block into DataError, which names `what` or the path."""
    try:
        with permitted(path):
            yield
    except OSError as error:
        raise DataError(f"{what or path} cannot be read ({why(error)}); check {check}") from error


@contextmanager
def writing(what: str, mend: str) -> Iterator[None]:
    """Turn errors of the system in the block into CannotWrite: "<what> (...); <mend>"."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"{what} ({why(error)}); {mend}") from error


class Faults:
    """Collects the faults of the file `path`, so that the user can repair it in one pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Record a DataError of the block instead of raising it."""
        try:
            yield
        except DataError as error:
            if str(error) not in self.found:
                self.found.append(str(error))

    def add(self, fault: str) -> None:
        """Record a fault that was found without an error."""
        self.found.append(fault)

    def warn(self, more: str = "") -> None:
        """Raise the recorded faults, if any, as one DataError that ends in `more`."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise DataError(self.found[0] + more)
        start = re.compile(re.escape(f"{self.path}") + ":? ")
        rest = [fault[m.end() :] if (m := start.match(fault)) else fault for fault in self.found]
        listed = "; ".join(f"({k}) {fault}" for k, fault in enumerate(rest, 1))
        raise DataError(f"{self.path} has {len(rest)} faults: {listed}{more}")
