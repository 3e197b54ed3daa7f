"""Range of valid seeds: those that torch accepts."""

from __future__ import annotations

import operator

from zslkit.errors import UserError

MOST_SEED = 2**63 - 1
"""Largest seed that torch accepts on every device (int64)."""


def check_seed(seed: object) -> int:
    """The seed as a plain integer, so that one seed has one spelling in folders and records.

    Raises:
        UserError: It is no whole number, or torch or numpy does not accept it.
    """
    try:
        if isinstance(seed, bool):
            raise TypeError
        number = operator.index(seed)  # type: ignore[arg-type]
    except TypeError as error:
        raise UserError(
            f"The seed is {seed!r}, and a seed is a whole number, such as 0; give one"
        ) from error
    if number < 0:
        raise UserError("The seed is negative, and a seed is 0 or more; give another")
    if number > MOST_SEED:
        count = len(str(number)) if number < 10**4000 else "over 4000"
        raise UserError(
            f"The seed is a number of {count} digits, and torch takes seeds up to {MOST_SEED}; "
            "give a smaller one"
        )
    return number
