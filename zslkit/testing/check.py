"""What a check is: a function with a name, a reason and a hint, and what can come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zslkit.errors import ZslkitError

if TYPE_CHECKING:
    from zslkit.testing.bench import Bench

Status = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]


class Failed(Exception):
    """A model breaks the rule; the text says how."""


class Skipped(Exception):
    """The rule does not apply to the model; the text says why."""


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    reason: why it matters. hint: how to mend a model that breaks it. function: raises Failed or Skipped; gives a remark or None.
    after: checks that must hold before this one says anything, so that one fault is told once.
    """

    name: str
    reason: str
    hint: str
    function: Callable[[Bench], str | None]
    after: tuple[str, ...] = ()


def check(
    *, reason: str, hint: str, after: Sequence[Check] = ()
) -> Callable[[Callable[[Bench], str | None]], Check]:
    """Make a Check of a function; its name is the check's."""

    def made(function: Callable[[Bench], str | None]) -> Check:
        return Check(function.__name__, reason, hint, function, tuple(c.name for c in after))

    return made


@dataclass(frozen=True)
class CheckResult:
    """What came of one check on one model. message: what is wrong, why it was skipped, or a remark; may be empty."""

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
    """A model breaks rules of the contract. results: those that failed."""

    def __init__(self, model: str, results: Sequence[CheckResult]) -> None:
        self.model, self.results = model, tuple(results)
        count = f"{len(results)} check{'s' if len(results) != 1 else ''}"
        super().__init__(
            f"{model} fails {count}:\n" + "\n".join(f"- {result}" for result in results)
        )
