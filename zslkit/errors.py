"""Errors shown to the user: one sentence that names the thing, the place and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ZslkitError(Exception):
    """A failure with an explanation. The command line prints it and exits with `exit_code`."""

    exit_code = 1


class UserError(ZslkitError):
    """An error in a name, a path, a value or an input file, which the user can correct."""

    exit_code = 2


class UnknownName(UserError):
    """An unknown name, with suggestions.

    Args:
        kind: Singular noun, such as "model".
        name: The unknown name.
        known: Existing names.
        hint: Next step, appended to the message.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        miss = f"There is no {kind} {name!r}{did_you_mean(name, self.known)}"
        super().__init__(f"{miss}{' ' if miss.endswith('?') else '. '}{hint}" if hint else miss)


class DataError(UserError):
    """Input data is missing, damaged or inconsistent."""


class CannotWrite(ZslkitError):
    """A file or folder cannot be written, such as on a full disk. Existing files are unchanged."""


class TrainingError(ZslkitError):
    """Training cannot continue, such as after a loss term that is not finite."""


class OutOfMemory(TrainingError):
    """The device has too little memory for a training step."""


class ModelFault(ZslkitError):
    """A model breaks a rule of the contract while it runs, so its results would be invalid.

    Args:
        who: Name of the model.
        reason: What it did and how to correct it; follows the name in the message.
    """

    def __init__(self, who: str, reason: str) -> None:
        self.who, self.reason = who, reason
        super().__init__(f"{who}: {reason}")

    def __reduce__(self) -> tuple[type[ModelFault], tuple[str, str]]:
        return ModelFault, (self.who, self.reason)  # pickled when raised in another process


class MissingWeights(UserError):
    """Pretrained weights of a backbone are not on this machine."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """'; did you mean "x"?' for similar known names, else a list of at most 12 known names."""
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
