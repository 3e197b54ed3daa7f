"""Defines a check: a named function with a reason and a hint, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from zslkit.errors import ZslkitError
from zslkit.testing.bench import Bench

Status = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Attributes:
        reason: Why the rule matters.
        hint: How to correct a model that breaks it.
        function: Raises Failed or Skipped; returns a remark or None.
        after: Checks that must pass first, so that one fault is reported once.
    """

    name: str
    reason: str
    hint: str
    function: Callable[[Bench], str | None]
    after: tuple[str, ...] = ()


def check(
    *, reason: str, hint: str, after: Sequence[Check] = ()
) -> Callable[[Callable[[Bench], str | None]], Check]:
    """Decorator that makes a Check with the name of the function."""

    def made(function: Callable[[Bench], str | None]) -> Check:
        return Check(function.__name__, reason, hint, function, tuple(c.name for c in after))

    return made


@dataclass(frozen=True)
class CheckResult:
    """Result of one check on one model.

    `message` says what is wrong, why it was skipped, or a remark; it may be empty.
    """

    check: str
    status: Status
    message: str = ""
    reason: str = ""
    hint: str = ""
    traceback: str = ""

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    def __str__(self) -> str:
        return (
            f"{self.check}: {self.message}{f' ({self.hint})' if self.failed and self.hint else ''}"
        )


class ConformanceError(ZslkitError, AssertionError):
    """A model breaks rules of the contract: the results of the failed checks."""

    def __init__(self, model: str, results: Sequence[CheckResult]) -> None:
        self.model, self.results = model, tuple(results)
        count = f"{len(results)} check{'s' if len(results) != 1 else ''}"
        super().__init__(
            f"{model} fails {count}:\n" + "\n".join(f"- {result}" for result in results)
        )
