"""The errors that a user sees: one sentence that names the thing, the place and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ZslkitError(Exception):
    """A failure that the tool can explain. The command line prints its text and exits with `exit_code`."""

    exit_code = 1


class UserError(ZslkitError):
    """Something the user can mend: a name, a path, a value, an input file."""

    exit_code = 2


class UnknownName(UserError):
    """A name that nothing answers to, with the nearest names that exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        miss = f"There is no {kind} {name!r}{did_you_mean(name, self.known)}"
        super().__init__(f"{miss}{' ' if miss.endswith('?') else '. '}{hint}" if hint else miss)


class DataError(UserError):
    """Input data that is missing, damaged or contradicts itself."""


class CannotWrite(ZslkitError):
    """A file or folder that cannot be written, as on a full disk: a failure of the machine. What stands there is whole."""


class TrainingError(ZslkitError):
    """Training cannot go on, for instance because a loss term is not finite."""


class OutOfMemory(TrainingError):
    """The device has no room for a training step: a matter of the machine, and not of the settings."""


class ModelFault(ZslkitError):
    """A model breaks a rule of the contract while it runs, so its figures would not be what they say.

    Args:
        who: the model's name.
        reason: what it did and how to mend it, in words that follow the name.
    """

    def __init__(self, who: str, reason: str) -> None:
        self.who, self.reason = who, reason
        super().__init__(f"{who}: {reason}")

    def __reduce__(self) -> tuple[type[ModelFault], tuple[str, str]]:
        return ModelFault, (self.who, self.reason)  # it may be raised in another process


class MissingWeights(UserError):
    """A backbone was asked for whose pretrained weights are nowhere to be found."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """'; did you mean "x"?' for the nearest known names, else the list of what exists (at most 12)."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=2, cutoff=0.6)
    if near:
        back = {n.lower(): n for n in names}
        return "; did you mean " + " or ".join(f'"{back[n]}"' for n in near) + "?"
    if not names:
        return "; there is none"
    return f"; there are: {listed(names, 12)}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names with commas between them, and ", ..." where there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
