"""Range of valid seeds: those that torch accepts."""

from __future__ import annotations

from zslkit.errors import UserError

MOST_SEED = 2**63 - 1
"""Largest seed that torch accepts on every device (int64)."""


def check_seed(seed: int) -> None:
    """Raise UserError unless torch accepts the seed."""
    if not -MOST_SEED <= seed <= MOST_SEED:
        digits = (
            f"a number of {len(str(abs(seed)))} digits"
            if abs(seed) < 10**4000
            else "a number of over 4000 digits"
        )
        raise UserError(
            f"The seed is {digits}, and torch takes seeds up to {MOST_SEED}; give a smaller one"
        )
